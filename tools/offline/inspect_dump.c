/* cairn-inspect dump: the namespace of a checkpoint as lines of JSON, in two passes over the file:
 * the first one for the header and the orphans, which are left out. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/map.h"
#include "metaserver/fs/dump.h"
#include "tools/dump_json.h"
#include "tools/offline/inspect.h"
#include "tools/offline/row_sink.h"

struct dump {
    struct fs_dump_head head;
    bool has_head;
    struct map orphans; /* few: files that are open and have no name */
    struct fs_dump_rows rows;
    struct dump_counts counts;
};

/* An inode that does not go into a dump is an orphan. */
static int first_pass(void *arg, struct slice key, struct slice value)
{
    struct dump *d = arg;
    if (key.size == 1 && key.data[0] == 'M') {
        d->has_head = true;
        return fs_dump_read_head(value, &d->head);
    }
    if (key.size == 0 || key.data[0] != 'i')
        return 0;
    fs_dump_rows_clear(&d->rows);
    int added = fs_dump_add_row(key, value, &d->rows);
    if (added == 0)
        (void)map_put(&d->orphans, fs_dump_owner(key), d);
    return added < 0 ? added : 0;
}

static int second_pass(void *arg, struct slice key, struct slice value)
{
    struct dump *d = arg;
    uint64_t owner = fs_dump_owner(key);
    if (owner && map_get(&d->orphans, owner))
        return 0;
    fs_dump_rows_clear(&d->rows);
    int added = fs_dump_add_row(key, value, &d->rows);
    if (added <= 0)
        return added;
    dump_print_rows(stdout, bytes_slice(&d->rows.names), bytes_slice(&d->rows.chunks),
                    bytes_slice(&d->rows.links), bytes_slice(&d->rows.inodes), &d->counts);
    return ferror(stdout) ? -ERR_IO : 0;
}

static int pass(int fd, row_sink_fn *fn, struct dump *d, struct err_text *why)
{
    struct checkpoint_facts facts;
    struct row_sink sink;
    row_sink_init(&sink, fn, d);
    return inspect_load(fd, &sink.kv, &facts, why);
}

static int dump_file(int fd, struct dump *d, struct err_text *why)
{
    int status = pass(fd, first_pass, d, why);
    if (status == 0 && !d->has_head)
        status = err_set(ERR_CORRUPT, why, "no counters are in it");
    if (status != 0)
        return status;
    struct dump_header header = {.cluster = d->head.cluster,
                                 .index = d->head.index,
                                 .term = d->head.term,
                                 .inode_next = d->head.inode_next,
                                 .copies = d->head.copies};
    dump_print_header(stdout, &header);
    status = pass(fd, second_pass, d, why);
    if (status == 0)
        dump_print_end(stdout, &d->counts);
    return status;
}

int command_dump(const struct arguments *a)
{
    const char *path = a->words[0];
    struct dump d = {.has_head = false};
    struct err_text why = {""};
    int code = EXIT_GOOD, fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return complain_text(EXIT_USAGE, "%s: %s", path, strerror(errno));
    map_init(&d.orphans, 1);
    int status = dump_file(fd, &d, &why);
    if (status != 0)
        code = complain_text(EXIT_ERROR, "%s: the dump is not complete: %s", path, why.text);
    else if (fflush(stdout) != 0)
        code = complain_text(EXIT_ERROR, "cannot write: %s", strerror(errno));
    map_release(&d.orphans);
    fs_dump_rows_release(&d.rows);
    (void)close(fd);
    return code;
}
