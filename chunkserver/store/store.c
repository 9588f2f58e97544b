/* A target: opening and closing, failure, space, figures. */
#define _GNU_SOURCE
#include "chunkserver/store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "chunkserver/store/store_private.h"
#include "common/base/banned.h"

enum { RESERVE_PER_MILLE_DEFAULT = 50 };

/* However small the disk: room for the index, the journal and one round of headers. */
#define RESERVE_BYTES_MIN ((uint64_t)4 << 20)
/* Space is asked for once per this much at most, not once per write. */
#define SPACE_CREDIT_BYTES_MAX ((int64_t)64 << 20)

/* Statx attribute for the mount's number; the unique kind (Linux 6.8) is never used twice. */
enum { STATX_MOUNT_UNIQUE = 0x4000 };

int store_fail(struct store *s, const char *what, int errno_value)
{
    lock_mutex(&s->label_lock);
    if (!atomic_load(&s->failed)) {
        (void)err_set(ERR_TARGET_FAILED, &s->failure, "%s: %s", what, strerror(errno_value));
        atomic_store(&s->failed, true);
    }
    unlock_mutex(&s->label_lock);
    return -ERR_TARGET_FAILED;
}

int store_write_error(struct store *s, const char *what, int errno_value)
{
    if (errno_value == ENOSPC || errno_value == EDQUOT) {
        COUNT(s, no_space);
        atomic_store(&s->space_credit_bytes, 0);
        return -ERR_NO_SPACE;
    }
    return store_fail(s, what, errno_value);
}

int store_failed(struct store *s, struct err_text *why)
{
    if (!atomic_load(&s->failed))
        return 0;
    if (why)
        *why = s->failure;
    return -ERR_TARGET_FAILED;
}

void store_file_name(const struct store_entry *e, char ret_name[FILE_NAME_SIZE])
{
    char id[CHUNK_ID_TEXT_SIZE];
    chunk_id_format(&e->id, id);
    (void)snprintf(ret_name, FILE_NAME_SIZE, "%x-%04x/%s", e->copies & 0xfu, e->shard & 0xffffu,
                   id);
}

/* ---- space ---- */

static int measure(struct store *s, struct store_space *ret_space)
{
    struct statvfs f;
    if (fstatvfs(s->root, &f) != 0)
        return err_from_errno(errno);
    uint64_t total = (uint64_t)f.f_blocks * f.f_frsize, avail = (uint64_t)f.f_bavail * f.f_frsize;
    uint64_t reserve = total / 1000 * s->reserve_per_mille;
    if (reserve < RESERVE_BYTES_MIN)
        reserve = RESERVE_BYTES_MIN;
    *ret_space = (struct store_space){.bytes_total = total,
                                      .bytes_free = avail > reserve ? avail - reserve : 0,
                                      .bytes_reserve = reserve};
    return 0;
}

int store_take_space(struct store *s, uint64_t bytes)
{
    struct store_space space = {0};
    int64_t wanted = (int64_t)bytes;
    if (atomic_fetch_sub(&s->space_credit_bytes, wanted) >= wanted)
        return 0;
    int status = measure(s, &space);
    if (status != 0)
        return status;
    if (space.bytes_free < bytes) {
        atomic_store(&s->space_credit_bytes, 0);
        COUNT(s, no_space);
        return -ERR_NO_SPACE;
    }
    /* An eighth of what is left: others write to the same disk. */
    int64_t credit = (int64_t)((space.bytes_free - bytes) / 8);
    atomic_store(&s->space_credit_bytes,
                 credit < SPACE_CREDIT_BYTES_MAX ? credit : SPACE_CREDIT_BYTES_MAX);
    return 0;
}

int store_space(struct store *s, struct store_space *ret_space)
{
    struct store_space space;
    CHECK_OBJ(s, STORE_MAGIC);
    int status = measure(s, &space);
    if (status == 0)
        status = index_count(s, &space.chunk_count);
    if (status == 0)
        *ret_space = space;
    return status;
}

/* ---- open ---- */

static bool may_be_there(const char *name)
{
    static const char *const names[] = {".",       "..",    "lost+found", "label.new",
                                        "intents", "index", "trash"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* What an earlier init that was cut short has left does not count. */
static int check_empty(int root, const char *path, struct err_text *why)
{
    int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder)
        return err_set(ERR_CONFIG, why, "%s: %s", path, strerror(errno));
    int status = 0;
    for (struct dirent *d; status == 0 && (d = readdir(folder));)
        if (!may_be_there(d->d_name))
            status = err_set(ERR_CONFIG, why, "%s is not empty (%s): not made a target", path,
                             d->d_name);
    (void)closedir(folder);
    return status;
}

static int make_target(struct store *s, const char *path, const struct store_options *o,
                       struct err_text *why)
{
    int status = check_empty(s->root, path, why);
    if (status != 0)
        return status;
    s->label = (struct label){.cluster = o->cluster,
                              .target = o->target ? *o->target : uuid_make(),
                              .clean = true,
                              .index_good = false};
    int error = intent_create(s->root);
    if (error == 0 && index_drop(s) != 0)
        error = EIO;
    if (error == 0)
        error = label_create(s->root, &s->label, &s->label_fd);
    return error == 0 ? 0
                      : err_set((enum err)(-err_from_errno(error)), why, "%s: cannot be made: %s",
                                path, strerror(error));
}

static int check_label(const struct label *l, const struct store_options *o, const char *path,
                       struct err_text *why)
{
    char text[UUID_TEXT_SIZE];
    if (memcmp(&l->cluster, &o->cluster, sizeof l->cluster) != 0) {
        uuid_format(&l->cluster, text);
        return err_set(ERR_WRONG_CLUSTER, why, "%s belongs to cluster %s", path, text);
    }
    if (o->target && memcmp(&l->target, o->target, sizeof l->target) != 0) {
        uuid_format(&l->target, text);
        return err_set(ERR_WRONG_CLUSTER, why, "%s holds target %s", path, text);
    }
    return 0;
}

static int take_target(struct store *s, const char *path, const struct store_options *o,
                       bool *ret_new, struct err_text *why)
{
    int status = label_open(s->root, &s->label_fd, why);
    *ret_new = false;
    if (status == -ERR_NO_ENTRY && !o->init)
        return err_set(ERR_CONFIG, why,
                       "%s has no label: is the disk mounted? (init makes a new target)", path);
    if (status == -ERR_NO_ENTRY) {
        *ret_new = true;
        return make_target(s, path, o, why);
    }
    if (status == 0 && o->init)
        return err_set(ERR_NOT_EMPTY_STATE, why, "%s already is a target", path);
    if (status == 0)
        status = label_read(s->label_fd, &s->label, why);
    return status == 0 ? check_label(&s->label, o, path, why) : status;
}

/* An index left without a flush may be used while neither the machine nor the mount has changed. */
static void instance_of(int root, const char *boot_id, uint8_t ret_instance[INSTANCE_SIZE])
{
    struct statx x;
    char text[160];
    uint8_t digest[SHA1_SIZE];
    memset(&x, 0, sizeof x);
    if (statx(root, "", AT_EMPTY_PATH, STATX_MOUNT_UNIQUE, &x) != 0 ||
        !(x.stx_mask & STATX_MOUNT_UNIQUE))
        (void)statx(root, "", AT_EMPTY_PATH, STATX_MNT_ID, &x);
    int size = snprintf(text, sizeof text, "%.100s:%llu", boot_id ? boot_id : "",
                        (unsigned long long)x.stx_mnt_id);
    checksum_sha1(text, (size_t)size, digest);
    memcpy(ret_instance, digest, INSTANCE_SIZE);
}

/* After this the target is ours, recovered, and durably noted as in use. */
static int start(struct store *s, const struct store_options *o, bool is_new,
                 enum store_start *ret_start, struct err_text *why)
{
    uint8_t instance[INSTANCE_SIZE];
    instance_of(s->root, o->boot_id, instance);
    int status = intent_open(s->root, &s->intents);
    bool log_whole = status == 0;
    if (status == -ERR_CORRUPT && intent_create(s->root) == 0)
        status = intent_open(s->root, &s->intents);
    if (status != 0)
        return err_set((enum err)(-status), why, "the intent log cannot be opened");
    if (mkdirat(s->root, "trash", 0700) != 0 && errno != EEXIST)
        return err_set((enum err)(-err_from_errno(errno)), why, "trash: %s", strerror(errno));
    s->trash = openat(s->root, "trash", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->trash < 0)
        return err_set((enum err)(-err_from_errno(errno)), why, "trash: %s", strerror(errno));
    bool trusted = s->label.index_good &&
                   (s->label.clean || memcmp(s->label.instance, instance, INSTANCE_SIZE) == 0);
    status = store_recover(s, trusted, log_whole, ret_start);
    if (status == 0)
        status = index_each(s, sizes_add);
    if (status != 0)
        return err_set((enum err)(-status), why, "recovery failed: %s", err_text(status));
    if (is_new)
        *ret_start = STORE_START_NEW;
    memcpy(s->label.instance, instance, INSTANCE_SIZE);
    s->label.incarnation++;
    s->label.clean = false;
    s->label.index_good = true;
    int error = label_write(s->label_fd, &s->label);
    if (error == 0 && fsync(s->root) != 0)
        error = errno;
    return error == 0
               ? 0
               : err_set((enum err)(-err_from_errno(error)), why, "label: %s", strerror(error));
}

static void let_go(struct store *s)
{
    index_close(s, false);
    cache_release(&s->cache);
    sizes_release(s);
    intent_release(&s->intents);
    if (s->label_fd >= 0)
        (void)close(s->label_fd);
    if (s->trash >= 0)
        (void)close(s->trash);
    if (s->root >= 0)
        (void)close(s->root);
    s->magic = 0;
    free(s);
}

int store_open(const char *path, const struct store_options *options, struct store **ret_store,
               struct store_info *ret_info, struct err_text *why)
{
    struct store *s = calloc(1, sizeof *s);
    bool is_new;
    enum store_start how;
    CHECK(s != NULL);
    s->magic = STORE_MAGIC;
    s->label_fd = s->trash = s->intents.fd = -1;
    s->reserve_per_mille =
        options->reserve_per_mille ? options->reserve_per_mille : RESERVE_PER_MILLE_DEFAULT;
    CHECK(pthread_mutex_init(&s->label_lock, NULL) == 0);
    CHECK(pthread_mutex_init(&s->intents.lock, NULL) == 0);
    CHECK(pthread_cond_init(&s->intents.synced, NULL) == 0);
    CHECK(pthread_mutex_init(&s->index.lock, NULL) == 0);
    CHECK(pthread_mutex_init(&s->chores, NULL) == 0);
    cache_init(&s->cache, options->open_chunks_max);
    s->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = s->root < 0 ? err_set(ERR_CONFIG, why, "%s: %s", path, strerror(errno)) : 0;
    if (status == 0)
        status = take_target(s, path, options, &is_new, why);
    if (status == 0)
        status = start(s, options, is_new, &how, why);
    if (status != 0) {
        let_go(s);
        return status;
    }
    if (ret_info)
        *ret_info = (struct store_info){.cluster = s->label.cluster,
                                        .target = s->label.target,
                                        .incarnation = s->label.incarnation,
                                        .start = how};
    *ret_store = s;
    return 0;
}

int store_close(struct store *s)
{
    if (!s)
        return 0;
    CHECK_OBJ(s, STORE_MAGIC);
    lock_mutex(&s->chores);
    int status = store_checkpoint(s);
    unlock_mutex(&s->chores);
    bool indexed = status == 0 && s->label.index_good;
    index_close(s, indexed);
    if (status == 0)
        status = store_failed(s, NULL);
    if (status == 0) {
        s->label.clean = true;
        s->label.index_good = indexed;
        if (label_write(s->label_fd, &s->label) != 0)
            status = -ERR_IO;
    }
    let_go(s);
    return status;
}

void store_abandon(struct store *s)
{
    CHECK_OBJ(s, STORE_MAGIC);
    let_go(s);
}

/* ---- small answers ---- */

int store_see_position(struct store *s, struct store_position position)
{
    int error = 0;
    if (atomic_load(&s->failed))
        return -ERR_TARGET_FAILED;
    lock_mutex(&s->label_lock);
    struct store_position *seen = &s->label.position;
    if (position.term > seen->term ||
        (position.term == seen->term && position.index > seen->index)) {
        seen->term = position.term;
        if (position.index > seen->index)
            seen->index = position.index;
        error = label_write(s->label_fd, &s->label);
    }
    unlock_mutex(&s->label_lock);
    return error == 0 ? 0 : store_fail(s, "write of the label", error);
}

struct store_position store_position(struct store *s)
{
    lock_mutex(&s->label_lock);
    struct store_position position = s->label.position;
    unlock_mutex(&s->label_lock);
    return position;
}

struct store_counters store_counters(struct store *s)
{
    struct store_counters counters;
#define C(name, help) counters.name = atomic_load(&s->counters.name);
    STORE_COUNTERS(C)
#undef C
    return counters;
}

int store_list(struct store *s, uint8_t copies, uint32_t shard, struct store_cursor *cursor,
               struct store_entry *ret_entries, uint32_t capacity, uint32_t *ret_count)
{
    if (shard > STORE_SHARD_MAX || copies == 0 || copies > STORE_COPIES_MAX || capacity == 0)
        return -ERR_INVALID;
    return index_list(s, false, cursor, shard, copies, ret_entries, capacity, ret_count);
}

int store_list_all(struct store *s, struct store_cursor *cursor, struct store_entry *ret_entries,
                   uint32_t capacity, uint32_t *ret_count)
{
    return index_list(s, false, cursor, -1, 0, ret_entries, capacity, ret_count);
}

int store_suspects(struct store *s, struct store_cursor *cursor, struct store_entry *ret_entries,
                   uint32_t capacity, uint32_t *ret_count)
{
    return index_list(s, true, cursor, -1, 0, ret_entries, capacity, ret_count);
}

int store_trash_purge(struct store *s, uint64_t before_s, uint32_t *ret_count)
{
    uint32_t count = 0;
    int fd = openat(s->trash, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder)
        return err_from_errno(errno);
    for (struct dirent *d; count < STORE_PURGE_MAX && (d = readdir(folder));) {
        char *end;
        unsigned long long entered_s = strtoull(d->d_name, &end, 10);
        if (end != d->d_name && *end == '.' && entered_s < before_s &&
            unlinkat(s->trash, d->d_name, 0) == 0)
            count++;
    }
    (void)closedir(folder);
    *ret_count = count;
    return 0;
}
