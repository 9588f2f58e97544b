/* Checkpoint files: write, verify, list, load. Sending and receiving is in checkpoint_transfer.c.
 */
#define _GNU_SOURCE /* sync_file_range */
#include "metaserver/checkpoint_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "metaserver/checkpoint_format.h"
#include "metaserver/checkpoint_private.h"
#include "metaserver/log_files.h"
#include "common/base/banned.h"

void checkpoint_name(struct checkpoint_id id, bool temporary, char ret_name[CHECKPOINT_NAME_SIZE])
{
    (void)snprintf(ret_name, CHECKPOINT_NAME_SIZE, "checkpoint-%" PRIu64 "-%" PRIu64 "%s", id.index,
                   id.term, temporary ? ".tmp" : ".ckpt");
}

static bool name_parse(const char *text, struct checkpoint_id *ret_id, bool *ret_temporary)
{
    struct checkpoint_id id;
    // NOLINTNEXTLINE(cert-err34-c) a number too large does not format to the same text below
    if (sscanf(text, "checkpoint-%20" SCNu64 "-%20" SCNu64, &id.index, &id.term) != 2)
        return false;
    for (int temporary = 0; temporary < 2; temporary++) {
        char again[CHECKPOINT_NAME_SIZE];
        checkpoint_name(id, temporary, again);
        if (strcmp(text, again) == 0) {
            *ret_id = id;
            *ret_temporary = temporary;
            return true;
        }
    }
    return false;
}

/* Keeps `infos` sorted, newest first; what does not fit is the oldest. */
static unsigned infos_insert(struct checkpoint_info *infos, unsigned count,
                             struct checkpoint_info info)
{
    unsigned at = count;
    while (at > 0 && infos[at - 1].id.index < info.id.index)
        at--;
    if (at == CHECKPOINT_LIST_MAX)
        return count;
    if (count == CHECKPOINT_LIST_MAX)
        count--;
    memmove(&infos[at + 1], &infos[at], (count - at) * sizeof *infos);
    infos[at] = info;
    return count + 1;
}

/* How many of at most CHECKPOINT_LIST_MAX, or why they cannot be listed. */
static int scan_folder(const struct checkpoint_store *store,
                       struct checkpoint_info ret_infos[CHECKPOINT_LIST_MAX], bool remove_temporary)
{
    int fd = openat(store->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory) {
        int failed = errno;
        if (fd >= 0)
            (void)close(fd);
        return err_from_errno(failed);
    }
    unsigned count = 0;
    struct dirent *d;
    while (errno = 0, (d = readdir(directory)) != NULL) {
        struct checkpoint_info info;
        bool temporary;
        struct stat status;
        if (!name_parse(d->d_name, &info.id, &temporary))
            continue;
        if (temporary) {
            if (remove_temporary)
                (void)unlinkat(store->folder_fd, d->d_name, 0);
            continue;
        }
        if (fstatat(store->folder_fd, d->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        info.size_bytes = (uint64_t)status.st_size;
        info.written_s = status.st_mtime;
        count = infos_insert(ret_infos, count, info);
    }
    int failed = errno;
    (void)closedir(directory);
    return failed != 0 ? err_from_errno(failed) : (int)count;
}

static void remove_old(struct checkpoint_store *store)
{
    struct checkpoint_info infos[CHECKPOINT_LIST_MAX] = {0};
    int count = scan_folder(store, infos, false);
    for (int i = CHECKPOINT_KEEP_COUNT; i < count; i++) {
        char name[CHECKPOINT_NAME_SIZE];
        checkpoint_name(infos[i].id, false, name);
        (void)log_file_remove(store->folder_fd, name);
    }
}

int checkpoint_store_open(const char *folder, const struct uuid *cluster, uint32_t node,
                          struct checkpoint_store **ret_store, struct err_text *why)
{
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return err_set((enum err) - err_from_errno(errno), why, "%s: cannot be made: %s", folder,
                       strerror(errno));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set((enum err) - err_from_errno(errno), why, "%s: %s", folder, strerror(errno));
    struct checkpoint_store *store = calloc(1, sizeof *store);
    CHECK(store != NULL);
    *store = (struct checkpoint_store){
        .magic = CHECKPOINT_STORE_MAGIC, .folder_fd = fd, .cluster = *cluster, .node = node};
    CHECK(pthread_mutex_init(&store->lock, NULL) == 0);
    struct checkpoint_info infos[CHECKPOINT_LIST_MAX];
    int status = scan_folder(store, infos, true);
    if (status < 0) {
        checkpoint_store_close(store);
        return err_set((enum err) - status, why, "%s: cannot be listed: %s", folder,
                       err_text(status));
    }
    remove_old(store);
    *ret_store = store;
    return 0;
}

void checkpoint_store_close(struct checkpoint_store *store)
{
    if (!store)
        return;
    CHECK_OBJ(store, CHECKPOINT_STORE_MAGIC);
    CHECK(!store->receiving && !store->writing);
    (void)close(store->folder_fd);
    CHECK(pthread_mutex_destroy(&store->lock) == 0);
    free(store);
}

int checkpoint_store_list(struct checkpoint_store *store,
                          struct checkpoint_info ret_infos[CHECKPOINT_LIST_MAX])
{
    CHECK_OBJ(store, CHECKPOINT_STORE_MAGIC);
    return scan_folder(store, ret_infos, false);
}

int checkpoint_open_file(struct checkpoint_store *store, struct checkpoint_id id, int *ret_fd)
{
    char name[CHECKPOINT_NAME_SIZE];
    checkpoint_name(id, false, name);
    int fd = openat(store->folder_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    *ret_fd = fd;
    return 0;
}

/* --- write --- */

/* Written out in steps: an fsync of it all would keep the log's fdatasync waiting behind it. */
enum { PACE_BYTES = 4 << 20 };

struct checkpoint_writer {
    int fd;
    uint64_t offset;
    uint64_t paced; /* the device has what is before this, and may be at work on one step more */
    struct checkpoint_trailer trailer;
    size_t filled;
    uint8_t raw[CHECKPOINT_BLOCK_SIZE];
    uint8_t packed[CHECKPOINT_BLOCK_HEADER_SIZE + CHECKPOINT_PACKED_SIZE_MAX];
};

/* An error of the disk that these report is not reported by the fsync again. Any other says that
 * it cannot be done here, and the fsync does it all. */
static int writer_pace(struct checkpoint_writer *w)
{
    const unsigned wait =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    while (w->offset - w->paced >= 2 * (uint64_t)PACE_BYTES) {
        off_t done = (off_t)w->paced;
        bool is_done =
            sync_file_range(w->fd, done + PACE_BYTES, PACE_BYTES, SYNC_FILE_RANGE_WRITE) == 0 &&
            sync_file_range(w->fd, done, PACE_BYTES, wait) == 0;
        if (!is_done && (errno == EIO || errno == ENOSPC || errno == EDQUOT))
            return err_from_errno(errno);
        w->paced += PACE_BYTES;
    }
    return 0;
}

static int writer_out(struct checkpoint_writer *w, const uint8_t *data, size_t size)
{
    int result = log_write_all(w->fd, data, size, w->offset);
    w->offset += size;
    return result == 0 ? writer_pace(w) : result;
}

static int writer_flush(struct checkpoint_writer *w)
{
    if (w->filled == 0)
        return 0;
    uLongf packed_size = CHECKPOINT_PACKED_SIZE_MAX;
    uint8_t *packed = w->packed + CHECKPOINT_BLOCK_HEADER_SIZE;
    /* Level 1: a checkpoint must not dawdle, as it keeps old database pages from being reused. */
    CHECK(compress2(packed, &packed_size, w->raw, w->filled, 1) == Z_OK);
    checkpoint_block_pack((uint32_t)w->filled, packed, (uint32_t)packed_size, w->packed);
    w->trailer.block_count++;
    w->trailer.raw_bytes += w->filled;
    w->trailer.raw_crc = checksum_crc32(w->trailer.raw_crc, w->raw, w->filled);
    w->filled = 0;
    return writer_out(w, w->packed, CHECKPOINT_BLOCK_HEADER_SIZE + packed_size);
}

int checkpoint_put(struct checkpoint_writer *writer, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0) {
        size_t room = CHECKPOINT_BLOCK_SIZE - writer->filled;
        size_t run = size < room ? size : room;
        memcpy(writer->raw + writer->filled, at, run);
        writer->filled += run;
        at += run;
        size -= run;
        if (writer->filled == CHECKPOINT_BLOCK_SIZE) {
            int result = writer_flush(writer);
            if (result != 0)
                return result;
        }
    }
    return 0;
}

static int produce_file(const struct checkpoint_store *store, struct checkpoint_writer *w,
                        struct checkpoint_id id, checkpoint_produce *produce, void *arg)
{
    uint8_t header[CHECKPOINT_HEADER_SIZE], mark[CHECKPOINT_BLOCK_HEADER_SIZE],
        trailer[CHECKPOINT_TRAILER_SIZE];
    checkpoint_header_pack(&(struct checkpoint_header){.version = CHECKPOINT_VERSION,
                                                       .node = store->node,
                                                       .cluster = store->cluster,
                                                       .id = id},
                           header);
    int result = writer_out(w, header, sizeof header);
    if (result == 0)
        result = produce(arg, w);
    if (result == 0)
        result = writer_flush(w);
    if (result == 0) {
        checkpoint_block_pack(0, NULL, 0, mark);
        result = writer_out(w, mark, sizeof mark);
    }
    if (result == 0) {
        checkpoint_trailer_pack(&w->trailer, trailer);
        result = writer_out(w, trailer, sizeof trailer);
    }
    return result;
}

static bool writing_begin(struct checkpoint_store *store)
{
    CHECK(pthread_mutex_lock(&store->lock) == 0);
    bool begun = !store->writing;
    store->writing = true;
    CHECK(pthread_mutex_unlock(&store->lock) == 0);
    return begun;
}

static void writing_end(struct checkpoint_store *store)
{
    CHECK(pthread_mutex_lock(&store->lock) == 0);
    store->writing = false;
    CHECK(pthread_mutex_unlock(&store->lock) == 0);
}

static int write_new(struct checkpoint_store *store, struct checkpoint_id id,
                     checkpoint_produce *produce, void *arg, struct err_text *why)
{
    char name[CHECKPOINT_NAME_SIZE], temporary[CHECKPOINT_NAME_SIZE];
    checkpoint_name(id, false, name);
    checkpoint_name(id, true, temporary);
    if (faccessat(store->folder_fd, name, F_OK, 0) == 0)
        return err_set(ERR_EXISTS, why, "%s: exists already", name);
    int fd = openat(store->folder_fd, temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set((enum err) - err_from_errno(errno), why, "%s: %s", temporary,
                       strerror(errno));
    struct checkpoint_writer *w = calloc(1, sizeof *w);
    CHECK(w != NULL);
    w->fd = fd;
    int result = produce_file(store, w, id, produce, arg);
    free(w);
    if (result != 0) {
        (void)close(fd);
        (void)log_file_remove(store->folder_fd, temporary);
        return err_set((enum err) - result, why, "%s: cannot be written: %s", temporary,
                       err_text(result));
    }
    return checkpoint_settle(store, fd, id, why);
}

int checkpoint_store_write(struct checkpoint_store *store, struct checkpoint_id id,
                           checkpoint_produce *produce, void *arg, struct err_text *why)
{
    CHECK_OBJ(store, CHECKPOINT_STORE_MAGIC);
    if (!writing_begin(store))
        return err_set(ERR_BUSY, why, "another checkpoint is being written");
    int result = write_new(store, id, produce, arg, why);
    writing_end(store);
    return result;
}

int checkpoint_settle(struct checkpoint_store *store, int take_fd, struct checkpoint_id id,
                      struct err_text *why)
{
    char name[CHECKPOINT_NAME_SIZE], temporary[CHECKPOINT_NAME_SIZE];
    checkpoint_name(id, false, name);
    checkpoint_name(id, true, temporary);
    int result = 0;
    if (fsync(take_fd) != 0)
        result =
            err_set((enum err) - err_from_errno(errno), why, "%s: %s", temporary, strerror(errno));
    (void)posix_fadvise(take_fd, 0, 0, POSIX_FADV_DONTNEED);
    if (result == 0)
        result = checkpoint_scan(store, take_fd, id, NULL, NULL, why);
    (void)close(take_fd);
    CHECK(pthread_mutex_lock(&store->lock) == 0);
    if (result == 0) {
        result = log_file_rename(store->folder_fd, temporary, name);
        if (result != 0) {
            (void)log_file_remove(store->folder_fd, name);
            (void)err_set((enum err) - result, why, "%s: cannot be renamed: %s", temporary,
                          err_text(result));
        }
    }
    if (result == 0)
        remove_old(store);
    else
        (void)log_file_remove(store->folder_fd, temporary);
    CHECK(pthread_mutex_unlock(&store->lock) == 0);
    return result;
}

/* --- load --- */

struct scan {
    int fd;
    uint64_t offset;
    struct checkpoint_id id; /* that it must have; zero until the header is read: any */
    struct checkpoint_header header;
    struct checkpoint_trailer sum;
    checkpoint_consume *consume;
    void *arg;
    struct err_text *why;
    uint8_t packed[CHECKPOINT_PACKED_SIZE_MAX];
    uint8_t raw[CHECKPOINT_BLOCK_SIZE];
};

static int damaged(const struct scan *s, const char *what)
{
    return err_set(ERR_CORRUPT, s->why,
                   "checkpoint %" PRIu64 "-%" PRIu64 " at byte %" PRIu64 ": %s", s->id.index,
                   s->id.term, s->offset, what);
}

static int scan_in(struct scan *s, void *ret_data, size_t size)
{
    int result = log_read_all(s->fd, ret_data, size, s->offset);
    if (result == -ERR_NO_DATA)
        return damaged(s, "the file ends early");
    if (result != 0) /* nothing is known about what it holds */
        return err_set((enum err) - result, s->why,
                       "checkpoint %" PRIu64 "-%" PRIu64 " at byte %" PRIu64 ": cannot be read: %s",
                       s->id.index, s->id.term, s->offset, err_text(result));
    s->offset += size;
    return 0;
}

/* store NULL: a file by itself, of any cluster and id. */
static int scan_header(struct scan *s, const struct checkpoint_store *store)
{
    uint8_t bytes[CHECKPOINT_HEADER_SIZE];
    int result = scan_in(s, bytes, sizeof bytes);
    if (result != 0)
        return result;
    result = checkpoint_header_unpack(bytes, &s->header);
    if (result == -ERR_VERSION)
        return err_set(ERR_VERSION, s->why, "checkpoint %" PRIu64 "-%" PRIu64 ": unknown version",
                       s->id.index, s->id.term);
    if (result != 0)
        return damaged(s, "header damaged");
    if (!store) {
        s->id = s->header.id;
        return 0;
    }
    if (memcmp(&s->header.cluster, &store->cluster, sizeof s->header.cluster) != 0)
        return err_set(ERR_WRONG_CLUSTER, s->why,
                       "checkpoint %" PRIu64 "-%" PRIu64 ": of another cluster", s->id.index,
                       s->id.term);
    if (s->header.id.index != s->id.index || s->header.id.term != s->id.term)
        return damaged(s, "the file's name and its header differ");
    return 0;
}

/* One block; *ret_end at the end mark. */
static int scan_block(struct scan *s, bool *ret_end)
{
    uint8_t bytes[CHECKPOINT_BLOCK_HEADER_SIZE];
    struct checkpoint_block block;
    int result = scan_in(s, bytes, sizeof bytes);
    if (result != 0)
        return result;
    if (!checkpoint_block_unpack(bytes, &block))
        return damaged(s, "block header damaged");
    result = scan_in(s, s->packed, block.packed_size);
    if (result != 0)
        return result;
    if (!checkpoint_block_good(bytes, &block, s->packed))
        return damaged(s, "block checksum wrong");
    *ret_end = block.raw_size == 0;
    if (*ret_end)
        return 0;
    uLongf raw_size = sizeof s->raw;
    if (uncompress(s->raw, &raw_size, s->packed, block.packed_size) != Z_OK ||
        raw_size != block.raw_size)
        return damaged(s, "block does not unpack");
    s->sum.block_count++;
    s->sum.raw_bytes += raw_size;
    s->sum.raw_crc = checksum_crc32(s->sum.raw_crc, s->raw, raw_size);
    return s->consume ? s->consume(s->arg, slice_of(s->raw, raw_size)) : 0;
}

static int scan_trailer(struct scan *s)
{
    uint8_t bytes[CHECKPOINT_TRAILER_SIZE];
    struct checkpoint_trailer trailer;
    struct stat status;
    int result = scan_in(s, bytes, sizeof bytes);
    if (result != 0)
        return result;
    if (!checkpoint_trailer_unpack(bytes, &trailer))
        return damaged(s, "trailer damaged");
    if (trailer.block_count != s->sum.block_count || trailer.raw_bytes != s->sum.raw_bytes ||
        trailer.raw_crc != s->sum.raw_crc)
        return damaged(s, "blocks missing or exchanged");
    if (fstat(s->fd, &status) != 0 || (uint64_t)status.st_size != s->offset)
        return damaged(s, "bytes behind the end");
    return 0;
}

static int scan_all(struct scan *s, const struct checkpoint_store *store)
{
    int result = scan_header(s, store);
    for (bool end = false; result == 0 && !end;)
        result = scan_block(s, &end);
    return result ? result : scan_trailer(s);
}

static struct scan *scan_create(int fd, checkpoint_consume *consume, void *arg,
                                struct err_text *why)
{
    struct scan *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->fd = fd;
    s->consume = consume;
    s->arg = arg;
    s->why = why;
    return s;
}

int checkpoint_scan(const struct checkpoint_store *store, int fd, struct checkpoint_id id,
                    checkpoint_consume *consume, void *arg, struct err_text *why)
{
    struct scan *s = scan_create(fd, consume, arg, why);
    s->id = id;
    int result = scan_all(s, store);
    free(s);
    return result;
}

int checkpoint_file_scan(int fd, struct checkpoint_facts *ret_facts, checkpoint_consume *consume,
                         void *arg, struct err_text *why)
{
    struct scan *s = scan_create(fd, consume, arg, why);
    int result = scan_all(s, NULL);
    *ret_facts = (struct checkpoint_facts){.cluster = s->header.cluster,
                                           .node = s->header.node,
                                           .version = s->header.version,
                                           .id = s->header.id,
                                           .block_count = s->sum.block_count,
                                           .raw_bytes = s->sum.raw_bytes,
                                           .file_bytes = s->offset};
    free(s);
    return result;
}

int checkpoint_store_load(struct checkpoint_store *store, struct checkpoint_id id,
                          checkpoint_consume *consume, void *arg, struct err_text *why)
{
    CHECK_OBJ(store, CHECKPOINT_STORE_MAGIC);
    int fd = -1;
    int result = checkpoint_open_file(store, id, &fd);
    if (result != 0)
        return err_set((enum err) - result, why, "checkpoint %" PRIu64 "-%" PRIu64 ": %s", id.index,
                       id.term, err_text(result));
    result = checkpoint_scan(store, fd, id, consume, arg, why);
    (void)close(fd);
    return result;
}

int checkpoint_store_verify(struct checkpoint_store *store, struct checkpoint_id id,
                            struct err_text *why)
{
    return checkpoint_store_load(store, id, NULL, NULL, why);
}

int checkpoint_store_remove(struct checkpoint_store *store, struct checkpoint_id id)
{
    CHECK_OBJ(store, CHECKPOINT_STORE_MAGIC);
    char name[CHECKPOINT_NAME_SIZE];
    checkpoint_name(id, false, name);
    if (unlinkat(store->folder_fd, name, 0) != 0)
        return err_from_errno(errno);
    return fsync(store->folder_fd) == 0 ? 0 : err_from_errno(errno);
}
