/* What an open has to put right: after a killed process the index, for the chunks named in the
 * intent log; after a power cut the whole index, from the headers of all files. Either way the
 * chunks that may hold a torn write are marked suspect in their headers before the log is reused.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chunkserver/store/store_private.h"
#include "common/base/banned.h"

enum { BATCH = 256, FOLDER_NAME_SIZE = 6 };

struct recovery {
    struct store *store;
    struct map named; /* ids in the intent log */
    bool unclean, all_suspect;
    uint64_t generation_max;
    uint64_t marked_count;
    struct store_entry entries[BATCH];
    bool present[BATCH];
    uint32_t count;
};

static int hex_value(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* "2-03ff"; anything else in the target's folder is not a shard. */
static bool parse_folder(const char *name, struct store_entry *e)
{
    if (strlen(name) != FOLDER_NAME_SIZE || name[1] != '-' || hex_value(name[0]) <= 0)
        return false;
    e->copies = (uint8_t)hex_value(name[0]);
    e->shard = 0;
    for (unsigned i = 2; i < FOLDER_NAME_SIZE; i++) {
        int digit = hex_value(name[i]);
        if (digit < 0)
            return false;
        e->shard = e->shard << 4 | (uint32_t)digit;
    }
    return true;
}

static int walk_folder(struct store *s, const char *name, struct store_entry *e, store_visit *visit,
                       void *context)
{
    int fd = openat(s->root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    int status = folder ? 0 : err_from_errno(errno);
    for (struct dirent *d; status == 0 && folder && (d = readdir(folder));)
        if (chunk_id_parse(d->d_name, &e->id) == 0)
            status = visit(context, e);
    if (folder)
        (void)closedir(folder);
    else if (fd >= 0)
        (void)close(fd);
    return status;
}

int store_walk(struct store *s, store_visit *visit, void *context)
{
    int fd = openat(s->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *root = fd < 0 ? NULL : fdopendir(fd);
    int status = root ? 0 : err_from_errno(errno);
    for (struct dirent *d; status == 0 && root && (d = readdir(root));) {
        struct store_entry e = {.length = 0};
        if (parse_folder(d->d_name, &e))
            status = walk_folder(s, d->d_name, &e, visit, context);
    }
    if (root)
        (void)closedir(root);
    else if (fd >= 0)
        (void)close(fd);
    return status;
}

static int write_batch(struct recovery *r)
{
    int status = r->count == 0 ? 0 : index_put_batch(r->store, r->entries, r->present, r->count);
    r->count = 0;
    return status;
}

static int add(struct recovery *r, const struct store_entry *e, bool present)
{
    r->entries[r->count] = *e;
    r->present[r->count++] = present;
    return r->count == BATCH ? write_batch(r) : 0;
}

static bool is_named(const struct recovery *r, const struct chunk_id *id)
{
    return map_get_bytes(&r->named, slice_of(id, sizeof *id)) != NULL;
}

/* Must be done while it is still known which generations were not clean. */
static int settle_tail(struct recovery *r, int fd, const struct chunk_header *h)
{
    for (unsigned page = 0; page < TAIL_PAGE_COUNT; page++) {
        uint8_t data[HEADER_SIZE];
        size_t size = 0;
        uint64_t at = TAIL_AT + (uint64_t)page * HEADER_SIZE;
        if (!(h->tail_pages & 1u << page) ||
            h->tail_generation[page] <= r->store->label.generation_clean)
            continue;
        if (io_read(fd, data, sizeof data, at, &size) != 0)
            continue; /* the chunk's own reads will say so */
        memset(data + size, 0, sizeof data - size);
        if (!header_settle_tail_page(&h->id, page, data))
            continue;
        r->marked_count++;
        int error = io_write(fd, data, sizeof data, at);
        if (error != 0)
            return err_from_errno(error);
    }
    return 0;
}

/* Its header is whole and says another folder than the one it lies in. */
static bool is_misplaced(int fd, const struct store_entry *e)
{
    uint8_t page[HEADER_SIZE];
    struct chunk_header h;
    size_t size;
    return io_read(fd, page, sizeof page, 0, &size) == 0 && size == sizeof page &&
           header_unpack(page, &h) == 0 && chunk_id_equal(&h.id, &e->id) &&
           (h.shard != e->shard || h.copies != e->copies);
}

/* The header of one file: what the index shall say of it, and the mark when it is suspect. */
static int judge(struct recovery *r, int fd, struct store_entry *e)
{
    uint8_t page[HEADER_SIZE];
    struct chunk_header h;
    size_t size;
    if (io_read(fd, page, sizeof page, 0, &size) != 0)
        size = 0;
    bool good = size == sizeof page && header_unpack(page, &h) == 0 &&
                chunk_id_equal(&h.id, &e->id) && h.shard == e->shard && h.copies == e->copies;
    bool suspect = r->unclean && (r->all_suspect || is_named(r, &e->id));
    if (!good) {
        e->flags = STORE_ENTRY_DAMAGED;
        if (r->unclean)
            e->flags |= STORE_ENTRY_SUSPECT;
        return 0;
    }
    suspect = suspect || (h.flags & HEADER_SUSPECT) ||
              (r->unclean && h.generation > r->store->label.generation_clean);
    if (h.generation > r->generation_max)
        r->generation_max = h.generation;
    e->version = h.version;
    e->length = h.length;
    e->flags = suspect ? STORE_ENTRY_SUSPECT : 0;
    int status = r->unclean ? settle_tail(r, fd, &h) : 0;
    if (status != 0)
        return status;
    if (!suspect || (h.flags & HEADER_SUSPECT))
        return 0;
    h.flags |= HEADER_SUSPECT;
    header_pack(&h, page);
    r->marked_count++;
    int error = io_write(fd, page, SECTOR_SIZE, 0);
    return error == 0 ? 0 : err_from_errno(error);
}

static int visit_file(void *context, const struct store_entry *found)
{
    struct recovery *r = context;
    struct store_entry e = {.id = found->id, .shard = found->shard, .copies = found->copies};
    char name[FILE_NAME_SIZE];
    store_file_name(&e, name);
    int fd = openat(r->store->root, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? add(r, &e, false) : err_from_errno(errno);
    if (is_misplaced(fd, &e)) {
        /* It must not pass for the one in the right folder. */
        (void)close(fd);
        return store_quarantine(r->store, name);
    }
    /* An empty file is a creation that never got its first bytes. */
    bool empty = r->unclean && lseek(fd, 0, SEEK_END) == 0;
    int status = empty ? (unlinkat(r->store->root, name, 0) == 0 ? 0 : err_from_errno(errno))
                       : judge(r, fd, &e);
    (void)close(fd);
    return status == 0 ? add(r, &e, !empty) : status;
}

static int read_log(struct recovery *r, struct intent **ret_intents, uint32_t *ret_count)
{
    static uint8_t yes;
    int status =
        intent_read(&r->store->intents, r->store->label.generation_clean, ret_intents, ret_count);
    for (uint32_t i = 0; status == 0 && i < *ret_count; i++) {
        const struct intent *n = &(*ret_intents)[i];
        (void)map_put_bytes(&r->named, slice_of(&n->id, sizeof n->id), &yes);
        if (n->generation > r->generation_max)
            r->generation_max = n->generation;
    }
    return status;
}

static int repair_index(struct recovery *r, const struct intent *intents, uint32_t count)
{
    int status = 0;
    for (uint32_t i = 0; i < count && status == 0; i++) {
        struct store_entry e = {
            .id = intents[i].id, .shard = intents[i].shard, .copies = intents[i].copies};
        status = visit_file(r, &e);
    }
    return status;
}

/* Before the first entry goes in, the label says that the index is not to be used. */
static int rebuild_index(struct recovery *r)
{
    struct store *s = r->store;
    s->label.index_good = false;
    int error = label_write(s->label_fd, &s->label);
    if (error != 0)
        return err_from_errno(error);
    index_close(s, false);
    int status = index_drop(s);
    if (status == 0)
        status = index_open(s);
    return status == 0 ? store_walk(s, visit_file, r) : status;
}

int store_recover(struct store *s, bool index_trusted, bool log_whole, enum store_start *ret_start)
{
    struct recovery *r = calloc(1, sizeof *r);
    struct intent *intents = NULL;
    uint32_t count = 0;
    CHECK(r != NULL);
    r->store = s;
    r->unclean = !s->label.clean;
    r->all_suspect = !log_whole;
    r->generation_max = s->label.generation_clean;
    map_init(&r->named, random_u64());
    /* Without its file the index would begin as an empty one, and everything would be lost. */
    bool usable = index_trusted && log_whole && index_exists(s) && index_open(s) == 0;
    int status = log_whole ? read_log(r, &intents, &count) : 0;
    if (status == 0 && usable && r->unclean)
        status = repair_index(r, intents, count);
    else if (status == 0 && !usable)
        status = rebuild_index(r);
    if (status == 0)
        status = write_batch(r);
    if (status == 0 && r->marked_count > 0 && syncfs(s->root) != 0)
        status = -ERR_IO;
    if (status == 0) {
        *ret_start = !usable      ? STORE_START_SCANNED
                     : r->unclean ? STORE_START_KILLED
                                  : STORE_START_CLEAN;
        s->label.generation_clean = r->generation_max;
        intent_next_generation(&s->intents, r->generation_max + 1);
    }
    map_release(&r->named);
    free(intents);
    free(r);
    return status;
}
