/* cairn-inspect checkpoint and db: the state of a metaserver, in a file or in its database. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "metaserver/fs/fs.h"
#include "tools/json.h"
#include "tools/offline/inspect.h"
#include "tools/offline/row_sink.h"
#include "tools/text.h"

enum { FILES_MAX = 64, CHECKPOINT_FILE_NAME_MAX = 256, LETTERS = 256 };

/* ---- rows per table ---- */

static const struct {
    char letter;
    const char *name;
} tables[] = {
    {'i', "inodes"},  {'D', "names"},   {'K', "chunks"},  {'L', "links"},    {'S', "sessions"},
    {'U', "clients"}, {'W', "windows"}, {'A', "answers"}, {'H', "holds"},    {'O', "orphans"},
    {'G', "deleted"}, {'T', "targets"}, {'R', "shards"},  {'M', "counters"}, {'B', "loads"},
    {'J', "jobs"},    {'C', "policy"},  {'X', "removed"},
};
enum { TABLE_COUNT = sizeof tables / sizeof tables[0] };

struct row_counts {
    uint64_t rows, by_letter[LETTERS];
};

static int count_row(void *arg, struct slice key, struct slice value)
{
    struct row_counts *c = arg;
    (void)value;
    c->rows++;
    c->by_letter[key.size ? key.data[0] : 0]++;
    return 0;
}

static json_t *rows_json(const struct row_counts *c)
{
    json_t *rows = json_object();
    for (unsigned i = 0; i < TABLE_COUNT; i++)
        json_object_set_new(rows, tables[i].name,
                            json_of_number(c->by_letter[(uint8_t)tables[i].letter]));
    return rows;
}

static void print_rows(const struct row_counts *c)
{
    char text[TEXT_SIZE];
    uint64_t known = 0;
    (void)printf("rows     %s:", text_count(c->rows, text));
    for (unsigned i = 0; i < TABLE_COUNT; i++) {
        uint64_t count = c->by_letter[(uint8_t)tables[i].letter];
        known += count;
        if (count)
            (void)printf("  %s %s", tables[i].name, text_count(count, text));
    }
    if (known != c->rows)
        (void)printf("  unknown %s", text_count(c->rows - known, text));
    (void)putchar('\n');
}

/* ---- one checkpoint ---- */

static int consume(void *arg, struct slice piece)
{
    return fs_load_add(arg, piece);
}

int inspect_load(int fd, struct kv *kv, struct checkpoint_facts *ret_facts, struct err_text *why)
{
    struct fs_load *stream;
    struct bytes config = {0};
    *ret_facts = (struct checkpoint_facts){.version = 0};
    int status = fs_load_begin(kv, &stream);
    if (status != 0)
        return status;
    status = checkpoint_file_scan(fd, ret_facts, consume, stream, why);
    int ended = fs_load_end(stream, &config);
    bytes_release(&config);
    if (status == 0 && ended != 0)
        status = err_set(ERR_CORRUPT, why, "the blocks are good, but hold no whole state: %s",
                         err_text(ended));
    else if (status != 0 && why->text[0] == '\0')
        (void)err_set((enum err) - status, why, "the rows in it: %s", err_text(status));
    return status;
}

static void print_facts(const char *path, const struct checkpoint_facts *f,
                        const struct row_counts *rows, bool json, const char *verdict)
{
    char cluster[UUID_TEXT_SIZE], a[TEXT_SIZE], b[TEXT_SIZE];
    uuid_format(&f->cluster, cluster);
    if (json) {
        json_print_line(json_pack(
            "{s:s s:s s:s s:i s:i s:o s:o s:o s:o s:o s:o s:s}", "kind", "checkpoint", "file", path,
            "cluster", cluster, "node", (int)f->node, "version", (int)f->version, "index",
            json_of_number(f->id.index), "term", json_of_number(f->id.term), "blocks",
            json_of_number(f->block_count), "raw_bytes", json_of_number(f->raw_bytes), "file_bytes",
            json_of_number(f->file_bytes), "rows", rows_json(rows), "verdict", verdict));
        return;
    }
    (void)printf("file     %s\n", path);
    if (f->version != 0)
        (void)printf("of       m%u of cluster %s   index %llu   term %llu\n", f->node, cluster,
                     (unsigned long long)f->id.index, (unsigned long long)f->id.term);
    (void)printf("blocks   %llu good   %s, unpacked %s\n", (unsigned long long)f->block_count,
                 text_bytes(f->file_bytes, a), text_bytes(f->raw_bytes, b));
    print_rows(rows);
    (void)printf("verdict  %s\n", verdict);
}

/* All invariants, with the whole state in memory. */
static int check_loaded(int fd, bool json, struct err_text *why)
{
    struct checkpoint_facts facts;
    struct kv *kv = kv_mem_create();
    struct fs *fs = NULL;
    struct fs_view *view = NULL;
    unsigned findings = 0;
    int status = inspect_load(fd, kv, &facts, why);
    if (status == 0)
        status = fs_open(kv, &fs);
    if (status == 0)
        status = fs_view_begin(fs, &view);
    if (status == 0)
        status = inspect_check(view, json, &findings);
    fs_view_end(view);
    if (fs)
        fs_close(fs);
    else
        kv->ops->destroy(kv);
    if (status != 0 && why->text[0] == '\0')
        (void)err_set((enum err) - status, why, "the state cannot be read: %s", err_text(status));
    return status != 0 || findings ? EXIT_ERROR : EXIT_GOOD;
}

static int inspect_file(const char *path, bool check, bool json)
{
    struct checkpoint_facts facts;
    struct row_counts rows = {0};
    struct row_sink sink;
    struct err_text why = {""};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return complain_text(EXIT_USAGE, "%s: %s", path, strerror(errno));
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    row_sink_init(&sink, count_row, &rows);
    int status = inspect_load(fd, &sink.kv, &facts, &why);
    char verdict[sizeof why.text + 16];
    (void)snprintf(verdict, sizeof verdict, "%s%s", status ? "FAULTY: " : "clean", why.text);
    print_facts(path, &facts, &rows, json, verdict);
    int code = status ? EXIT_ERROR : EXIT_GOOD;
    if (status == 0 && check)
        code = check_loaded(fd, json, &why);
    if (status == 0 && why.text[0])
        (void)complain_text(EXIT_ERROR, "%s: %s", path, why.text);
    (void)close(fd);
    return code;
}

/* ---- a folder of them ---- */

static bool is_checkpoint(const char *name)
{
    size_t size = strlen(name);
    return strncmp(name, "checkpoint-", 11) == 0 && size > 5 &&
           strcmp(name + size - 5, ".ckpt") == 0 && size < CHECKPOINT_FILE_NAME_MAX;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int inspect_all(const char *folder, bool check, bool json)
{
    static char names[FILES_MAX][CHECKPOINT_FILE_NAME_MAX];
    unsigned count = 0;
    int worst = EXIT_GOOD;
    DIR *directory = opendir(folder);
    if (!directory)
        return complain_text(EXIT_USAGE, "%s: %s", folder, strerror(errno));
    for (struct dirent *d; count < FILES_MAX && (d = readdir(directory));)
        if (is_checkpoint(d->d_name))
            (void)snprintf(names[count++], sizeof names[0], "%s", d->d_name);
    (void)closedir(directory);
    if (count == 0)
        return complain_text(EXIT_USAGE,
                             "%s: no checkpoint-*.ckpt is in it\n"
                             "  try: the data folder of a metaserver, such as ~/cairn-dev/m1/data",
                             folder);
    qsort(names, count, sizeof names[0], by_name);
    for (unsigned i = 0; i < count; i++) {
        char path[INSPECT_PATH_MAX + CHECKPOINT_FILE_NAME_MAX];
        struct stat st;
        if (snprintf(path, sizeof path, "%s/%s", folder, names[i]) >= (int)sizeof path)
            return complain_text(EXIT_USAGE, "%.100s...: the path is too long", folder);
        if (stat(path, &st) != 0 && errno == ENOENT)
            continue; /* a running metaserver removes the older ones */
        int code = inspect_file(path, check, json);
        worst = code > worst ? code : worst;
    }
    return worst;
}

int command_checkpoint(const struct arguments *a)
{
    char folder[INSPECT_PATH_MAX];
    struct stat st;
    bool json, check = option_given(a, "check");
    int code = inspect_form(a, &json);
    if (code != EXIT_GOOD)
        return code;
    if (stat(a->words[0], &st) == 0 && S_ISREG(st.st_mode))
        return inspect_file(a->words[0], check, json);
    (void)snprintf(folder, sizeof folder, "%s/checkpoints", a->words[0]);
    bool is_inner = stat(folder, &st) == 0 && S_ISDIR(st.st_mode);
    return inspect_all(is_inner ? folder : a->words[0], check, json);
}

/* ---- the database ---- */

/* Pages of a database that is being written are used again under a reader without a lock, so the
 * metaserver must stand still: its folder is locked as it would lock it. -1 when it runs. */
static int hold_still(const char *database)
{
    char path[INSPECT_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/../log", database);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        (void)complain_text(EXIT_USAGE,
                            "%s: no folder ../log: nobody can tell whether a "
                            "metaserver uses it\n  try: its data folder",
                            database);
        return -1;
    }
    if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) == 0)
        return fd;
    int owner = fd >= 0 ? inspect_owner(fd) : 0;
    if (owner)
        (void)complain_text(EXIT_USAGE,
                            "%s is in use by process %d: it cannot be read safely\n"
                            "  try: cairn fsck while it runs, or stop it first",
                            database, owner);
    else
        (void)complain_text(EXIT_USAGE, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static int open_database(const char *folder, struct kv **ret_kv)
{
    char path[INSPECT_PATH_MAX + 16];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/data.mdb", folder);
    if (stat(path, &st) != 0)
        return err_from_errno(errno);
    return kv_lmdb_open_read(folder, (uint64_t)st.st_size, ret_kv);
}

static int inspect_database(const char *folder, bool json)
{
    struct kv *kv = NULL;
    struct fs *fs = NULL;
    struct fs_view *view = NULL;
    unsigned findings = 0;
    int status = open_database(folder, &kv);
    if (status == 0)
        status = fs_open(kv, &fs);
    if (status == 0)
        status = fs_view_begin(fs, &view);
    if (status == 0 && !json)
        (void)printf("database %s\n", folder);
    if (status == 0)
        status = inspect_check(view, json, &findings);
    fs_view_end(view);
    if (fs)
        fs_close(fs);
    else if (kv)
        kv->ops->destroy(kv);
    if (status != 0)
        return complain_text(EXIT_ERROR,
                             "%s: cannot be read: %s\n  a metaserver makes it anew from checkpoint "
                             "and log when it is removed (docs/operations.md)",
                             folder, err_text(status));
    return findings ? EXIT_ERROR : EXIT_GOOD;
}

int command_db(const struct arguments *a)
{
    char folder[INSPECT_PATH_MAX];
    bool json;
    int code = inspect_form(a, &json);
    if (code != EXIT_GOOD)
        return code;
    if (!inspect_folder(a->words[0], "data.mdb", "database", folder))
        return EXIT_USAGE;
    int held = hold_still(folder);
    if (held < 0)
        return EXIT_USAGE;
    code = inspect_database(folder, json);
    (void)close(held);
    return code;
}
