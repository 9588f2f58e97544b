/* Opening what is on disk, and deciding what of it may be trusted.
 *
 * The database is written without fsync, because the log is the durable truth. It may be trusted
 * when the last process closed it, or when that process died but the kernel that holds its pages
 * did not: same boot, same mount. Otherwise it is built anew from the newest good checkpoint, and
 * the log is replayed on top. */
#include "config.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/log_files.h"
#include "metaserver/metaserver.h"

enum {
    PATH_SIZE = 4096,
    MARK_SIZE = 160,
    STATX_MOUNT_UNIQUE = 0x4000, /* STATX_MNT_ID_UNIQUE of Linux 6.8, not in every header */
};

static void path_of(const struct metaserver *m, char ret_path[PATH_SIZE], const char *name)
{
    int size = snprintf(ret_path, PATH_SIZE, "%s/%s", m->options.data, name);
    CHECK(size > 0 && size < PATH_SIZE);
}

/* ---- the mark that says which kernel's pages the database lives in ---- */

static void make_mark(const struct metaserver *m, const char *word, char ret_mark[MARK_SIZE])
{
    char boot[64] = "?";
    struct statx sx = {0};
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, boot, sizeof boot - 1);
    if (fd >= 0)
        (void)close(fd);
    boot[size > 0 ? size - 1 : 0] = '\0';
    (void)statx(AT_FDCWD, m->options.data, 0, STATX_BASIC_STATS | STATX_MOUNT_UNIQUE, &sx);
    unsigned long long mount_id = 0;
    memcpy(&mount_id, (const char *)&sx + 0x90,
           sizeof mount_id); /* stx_mnt_id, not in every header */
    (void)snprintf(ret_mark, MARK_SIZE, "%s boot=%s mount=%llx\n", word, boot, mount_id);
}

static int write_mark(const struct metaserver *m, const char *mark)
{
    char path[PATH_SIZE];
    path_of(m, path, META_MARK_NAME);
    /* Over what is there: a start on a full disk must not need a new block (R21). A mark cut short
     * by a crash equals no other, so the database would be built anew. */
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return err_from_errno(errno);
    size_t size = strlen(mark);
    int status = log_write_all(fd, mark, size, 0);
    if (status == 0 && (ftruncate(fd, (off_t)size) != 0 || fsync(fd) != 0))
        status = err_from_errno(errno);
    (void)close(fd);
    return status;
}

static bool may_trust(const struct metaserver *m)
{
    char path[PATH_SIZE], found[MARK_SIZE] = "", same[MARK_SIZE];
    path_of(m, path, META_MARK_NAME);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, found, sizeof found - 1);
    if (fd >= 0)
        (void)close(fd);
    found[size > 0 ? size : 0] = '\0';
    make_mark(m, "open", same);
    if (strstr(same, "boot=?"))
        return strncmp(found, "clean ", 6) == 0; /* who knows which kernel's pages these are */
    return strncmp(found, "clean ", 6) == 0 || strcmp(found, same) == 0;
}

/* With the files in it. Absent is fine. */
static int remove_folder(const char *path, struct err_text *why)
{
    char name[PATH_SIZE];
    DIR *folder = opendir(path);
    if (!folder && errno == ENOENT)
        return 0;
    for (struct dirent *e; folder && (e = readdir(folder));) {
        int size = snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (size > 0 && size < (int)sizeof name)
            (void)unlink(name); /* "." and ".." refuse */
    }
    if (folder)
        (void)closedir(folder);
    if (rmdir(path) == 0) /* tells whether all of it went */
        return 0;
    int failed = errno;
    return err_set((enum err) - err_from_errno(failed), why, "cannot remove %.180s: %s", path,
                   strerror(failed));
}

/* ---- from a checkpoint ---- */

static int make_folder(const char *path, struct err_text *why)
{
    if (mkdir(path, 0750) == 0 || errno == EEXIST)
        return 0;
    return err_set(ERR_IO, why, "cannot make %.180s: %s", path, strerror(errno));
}

static int open_state(struct metaserver *m, struct err_text *why)
{
    struct kv *kv;
    if (make_folder(m->database, why) != 0)
        return -ERR_IO;
    int status = kv_lmdb_open(m->database, m->options.database_max, &kv);
    if (status != 0)
        return err_set((enum err) - status, why, "cannot open the database in %.160s: %s",
                       m->database, err_text(status));
    status = fs_open(kv, &m->fs);
    if (status != 0) {
        kv->ops->destroy(kv);
        return err_set((enum err) - status, why, "the database in %.160s cannot be read: %s",
                       m->database, err_text(status));
    }
    return fs_view_begin(m->fs, &m->view);
}

static void close_state(struct metaserver *m)
{
    fs_view_end(m->view);
    if (m->fs)
        fs_close(m->fs);
    m->view = NULL;
    m->fs = NULL;
}

static int consume(void *arg, struct slice piece)
{
    return fs_load_add(arg, piece);
}

/* Checkpoints of earlier versions hold none: the cluster had its first members then. */
static int take_config(const struct metaserver *m, struct slice bytes,
                       struct raft_config *ret_config, struct err_text *why)
{
    if (bytes.size == 0) {
        *ret_config = m->standing.first;
        return 0;
    }
    int status = raft_config_decode(bytes, ret_config);
    return status == 0 ? 0
                       : err_set((enum err) - status, why,
                                 "the list of metaservers in the checkpoint cannot be read");
}

struct peek {
    const struct metaserver *m;
    struct raft_config *config;
    struct err_text *why;
    bool is_good;
};

static int peek_piece(void *arg, struct slice piece)
{
    struct peek *p = arg;
    struct slice config;
    int status = fs_load_peek_config(piece, &config);
    if (status == 0)
        status = take_config(p->m, config, p->config, p->why);
    p->is_good = status == 0;
    return status == 0 ? -ERR_CANCELLED : status; /* the rest does not matter */
}

/* The configuration that a checkpoint holds, when the state itself is there already. */
static int peek_config(struct metaserver *m, struct checkpoint_id id,
                       struct raft_config *ret_config, struct err_text *why)
{
    struct peek peek = {m, ret_config, why, false};
    int status = checkpoint_store_load(m->checkpoints, id, peek_piece, &peek, why);
    return peek.is_good ? 0 : status;
}

/* Fills the database in `folder` from the checkpoint. */
static int fill(struct metaserver *m, const char *folder, struct checkpoint_id id,
                struct raft_config *ret_config, struct err_text *why)
{
    struct kv *kv;
    struct fs_load *load;
    struct bytes config = {0};
    why->text[0] = '\0';
    if (make_folder(folder, why) != 0)
        return -ERR_IO;
    int status = kv_lmdb_open(folder, m->options.database_max, &kv);
    if (status != 0)
        return err_set((enum err) - status, why, "cannot make a database in %.180s: %s", folder,
                       err_text(status));
    status = fs_load_begin(kv, &load);
    if (status == 0) {
        status = checkpoint_store_load(m->checkpoints, id, consume, load, why);
        int ended = fs_load_end(load, &config);
        if (status == 0 && ended == -ERR_CORRUPT)
            (void)err_set(ERR_CORRUPT, why, "the checkpoint does not hold a whole state");
        status = status != 0 ? status : ended;
    }
    if (status != 0 && why->text[0] == '\0') /* the checkpoint may be a good one */
        (void)err_set((enum err) - status, why, "cannot fill the database in %.180s: %s", folder,
                      err_text(status));
    if (status == 0)
        status = take_config(m, bytes_slice(&config), ret_config, why);
    kv->ops->destroy(kv);
    bytes_release(&config);
    return status;
}

int meta_fill_database(struct metaserver *m, struct checkpoint_id id,
                       struct raft_config *ret_config, struct err_text *why)
{
    char fresh[PATH_SIZE];
    path_of(m, fresh, "database.new");
    int status = remove_folder(fresh, why);
    if (status != 0)
        return status;
    status = fill(m, fresh, id, ret_config, why);
    if (status == 0)
        return 0;
    log_error("checkpoint.bad", "index=%llu error=%s why=\"%s\"", (unsigned long long)id.index,
              err_name(status), why->text);
    (void)remove_folder(fresh, NULL); /* the next one to need it does */
    /* Left where it is, it would count as one of the two that are kept. */
    if (status == -ERR_CORRUPT)
        (void)checkpoint_store_remove(m->checkpoints, id);
    return status;
}

int meta_swap_database(struct metaserver *m, struct err_text *why)
{
    char fresh[PATH_SIZE];
    path_of(m, fresh, "database.new");
    close_state(m);
    int status = remove_folder(m->database, why);
    if (status != 0)
        return status;
    if (rename(fresh, m->database) != 0)
        return err_set(ERR_IO, why, "cannot rename %.180s: %s", fresh, strerror(errno));
    return open_state(m, why);
}

static int list_checkpoints(struct metaserver *m,
                            struct checkpoint_info ret_infos[CHECKPOINT_LIST_MAX],
                            struct err_text *why)
{
    int count = checkpoint_store_list(m->checkpoints, ret_infos);
    return count >= 0 ? count
                      : err_set((enum err) - count, why, "%.160s/checkpoints cannot be listed: %s",
                                m->options.data, err_text(count));
}

static int build_anew(struct metaserver *m, struct err_text *why)
{
    struct checkpoint_info infos[CHECKPOINT_LIST_MAX];
    struct err_text unread_why = {""};
    int count = list_checkpoints(m, infos, why);
    int status = -ERR_NO_ENTRY, unread = 0;
    if (count < 0)
        return count;
    /* Not to be trusted, and the new one needs the room. Left there, it could be taken for good. */
    int removed = remove_folder(m->database, why);
    if (removed != 0)
        return removed;
    for (int i = 0; i < count && status != 0 && status != -ERR_NO_SPACE; i++) {
        status = meta_fill_database(m, infos[i].id, &m->config, why);
        if (status == 0)
            status = meta_swap_database(m, why);
        if (status == 0)
            m->checkpoint = infos[i].id;
        else if (status != -ERR_CORRUPT && unread == 0) {
            unread = status;
            unread_why = *why;
        }
    }
    if (status == 0 || status == -ERR_NO_SPACE)
        return status;
    if (m->recovery.first_index > 1 && unread != 0) {
        *why = unread_why; /* a failing disk says nothing about the checkpoint */
        return unread;
    }
    if (m->recovery.first_index > 1)
        return err_set(
            ERR_FAULTY_LOG, why,
            "no good checkpoint for a log that begins at entry %llu; move %.120s away and start "
            "again: the other metaservers refill this one",
            (unsigned long long)m->recovery.first_index, m->options.data);
    removed = remove_folder(m->database, why);
    return removed != 0 ? removed : open_state(m, why);
}

/* What the database holds must be within reach of checkpoint and log. */
static bool fits(const struct metaserver *m)
{
    uint64_t applied = meta_applied(m);
    return applied + 1 >= m->recovery.first_index && applied >= m->checkpoint.index;
}

/* Only what was durable in the log was ever applied. A log that ends before it has lost entries
 * that were acknowledged: with a vote this node could help to lose them everywhere. (After a
 * checkpoint of another node was loaded and before the log was moved behind it, the checkpoint says
 * so.) */
static int check_log_end(const struct metaserver *m, struct err_text *why)
{
    uint64_t applied = meta_applied(m);
#ifdef PLANT_R9_END
    if (applied <= m->recovery.last_index)
#else
    if (applied <= m->recovery.last_index || applied <= m->checkpoint.index)
#endif
        return 0;
    return err_set(ERR_FAULTY_LOG, why,
                   "the log ends at entry %llu, but entries up to %llu were in it; nothing was "
                   "changed. Move %.80s away and start again: the other metaservers refill it",
                   (unsigned long long)m->recovery.last_index, (unsigned long long)applied,
                   m->options.data);
}

static int open_database(struct metaserver *m, struct err_text *why)
{
    struct checkpoint_info infos[CHECKPOINT_LIST_MAX];
    char mark[MARK_SIZE];
    int status = -ERR_CORRUPT;
    bool trusted = may_trust(m);
    m->config = m->standing.first; /* without a checkpoint */
    if (trusted) {
        int count = list_checkpoints(m, infos, why);
        if (count < 0)
            return count;
        if (count > 0)
            m->checkpoint = infos[0].id;
        status = m->checkpoint.index ? peek_config(m, m->checkpoint, &m->config, why) : 0;
        if (status == 0)
            status = open_state(m, why);
        if (status == 0 && check_log_end(m, why) != 0)
            return -ERR_FAULTY_LOG;
        if (status == 0 && !fits(m))
            status = -ERR_CORRUPT;
        if (status != 0)
            close_state(m);
        if (status == -ERR_NO_SPACE)
            return status; /* it is as good as before, and a rebuild would need more */
    }
    if (status != 0) {
        log_warn("database.rebuild", "trusted=%d: from checkpoint and log", trusted);
        m->checkpoint = (struct checkpoint_id){0, 0};
        m->config = m->standing.first;
        status = build_anew(m, why);
    }
    make_mark(m, "open", mark);
    if (status != 0)
        return status;
    status = write_mark(m, mark);
    return status == 0 ? 0
                       : err_set((enum err) - status, why, "%.160s/" META_MARK_NAME ": %s",
                                 m->options.data, err_text(status));
}

/* ---- life ---- */

/* Nothing there, or what is left of a first start that was killed before its standing was stored:
 * that comes before all else. A folder that cannot be read is not new: it would be founded anew. */
static int is_new_folder(const char *path, bool *ret_is_new, struct err_text *why)
{
    DIR *folder = opendir(path);
    unsigned names = 0;
    struct dirent *e = NULL;
    while (folder && (errno = 0, (e = readdir(folder)) != NULL))
        names += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
                 !standing_is_unfinished(e->d_name);
    int failed = errno;
    if (folder)
        (void)closedir(folder);
    else if (failed == ENOENT)
        failed = 0;
    *ret_is_new = names == 0;
    return failed == 0 ? 0
                       : err_set((enum err) - err_from_errno(failed), why,
                                 "cannot read the data folder %.160s: %s", path, strerror(failed));
}

int meta_store_standing(struct metaserver *m)
{
    return standing_store(m->options.data, &m->cluster, (uint32_t)m->options.id, &m->standing);
}

/* Before anything else is made: a folder without it, but not empty, is of an earlier version, and
 * that had all its metaservers in the option. */
static int open_standing(struct metaserver *m, bool is_new, struct err_text *why)
{
    int status = is_new ? -ERR_NO_ENTRY
                        : standing_load(m->options.data, &m->cluster, (uint32_t)m->options.id,
                                        &m->standing, why);
    if (status != -ERR_NO_ENTRY)
        return status;
    m->standing = (struct standing){.state = is_new ? STANDING_NEW : STANDING_MEMBER,
                                    .life = random_u64() | 1};
    if (!is_new)
        m->standing.first = m->peers;
    status = meta_store_standing(m);
    return status == 0 ? 0
                       : err_set((enum err) - status, why, "cannot write in %.180s: %s",
                                 m->options.data, err_text(status));
}

int meta_open(struct metaserver *m, struct err_text *why)
{
    struct log_store_options log_options;
    char path[PATH_SIZE];
    log_store_options_defaults(&log_options);
    bool is_new;
    int status = is_new_folder(m->options.data, &is_new, why);
    if (status != 0)
        return status;
    if (is_new && mkdir(m->options.data, 0750) != 0 && errno != EEXIST)
        return err_set(ERR_IO, why, "cannot make the data folder %.160s: %s", m->options.data,
                       strerror(errno));
    status = open_standing(m, is_new, why);
    if (status != 0)
        return status;
    log_options.sink = log_gather_sink(&m->gathered);
    log_options.create = m->standing.state == STANDING_NEW;
    if (log_options.create && !m->options.join &&
        !raft_config_find(&m->peers, (uint32_t)m->options.id))
        return err_set(ERR_CONFIG, why,
                       "peers does not name this node (id = %llu); one that is to be added to a "
                       "cluster needs join = yes",
                       (unsigned long long)m->options.id);
    path_of(m, path, "database");
    m->database = strdup(path);
    CHECK(m->database != NULL);
    path_of(m, path, "log");
    status = log_store_open(path, &m->cluster, (uint32_t)m->options.id, &log_options, &m->log,
                            &m->recovery, why);
    if (status != 0)
        return status;
    if (m->recovery.verdict == LOG_FAULTY)
        return err_set(
            ERR_FAULTY_LOG, why,
            "the log is damaged (%.120s); nothing was changed. Move %.60s away and start again: "
            "the other metaservers refill this one",
            m->recovery.reason.text, m->options.data);
    if (m->recovery.verdict == LOG_TORN_TAIL)
        log_warn("log.torn_tail", "from=%llu why=\"%s\": never acknowledged, cut off",
                 (unsigned long long)m->recovery.cut_index, m->recovery.reason.text);
    path_of(m, path, "checkpoints");
    status =
        checkpoint_store_open(path, &m->cluster, (uint32_t)m->options.id, &m->checkpoints, why);
    return status != 0 ? status : open_database(m, why);
}

/* Everything that the process wrote is on the disk: the database needs no log to be right. */
static int sync_data(const struct metaserver *m)
{
    int fd = open(m->options.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = fd < 0 ? -1 : syncfs(fd);
    if (fd >= 0)
        (void)close(fd);
    return result == 0 ? 0 : -ERR_IO;
}

void meta_close(struct metaserver *m, bool is_clean)
{
    char mark[MARK_SIZE];
    (void)meta_commit(m);
    bool was_open = m->fs != NULL;
    close_state(m);
    if (was_open && is_clean && sync_data(m) == 0) {
        make_mark(m, "clean", mark);
        (void)write_mark(m, mark);
    }
    checkpoint_store_close(m->checkpoints);
    log_store_close(m->log);
    log_gather_release(&m->gathered);
    free(m->database);
}

/* "ID=host:port". */
static bool parse_peer(const char *word, uint32_t *ret_id, const char **ret_address)
{
    const char *equals = strchr(word, '=');
    char *end = NULL;
    unsigned long id = strtoul(word, &end, 10);
    if (!equals || end != equals || id == 0 || id > 1000 || !equals[1])
        return false;
    *ret_id = (uint32_t)id;
    *ret_address = equals + 1;
    return true;
}

int meta_parse_peers(struct metaserver *m, struct err_text *why)
{
    uint32_t self = (uint32_t)m->options.id;
    char *text = strdup(m->options.peers), *rest = text;
    int status = 0;
    CHECK(text != NULL);
    for (char *word; status == 0 && (word = strsep(&rest, ",")) != NULL && *word;) {
        uint32_t id;
        const char *address;
        if (!parse_peer(word, &id, &address) || m->peers.count == RAFT_VOTERS_MAX ||
            raft_config_add(&m->peers, id, true, slice_str(address)) != 0)
            status =
                err_set(ERR_CONFIG, why, "peers: '%.100s' is not ID=host:port (at most %d of them)",
                        word, RAFT_VOTERS_MAX);
    }
    free(text);
    if (status == 0 && m->peers.count == 0 &&
        raft_config_add(&m->peers, self, true, slice_str(m->options.listen)) != 0)
        status = err_set(ERR_CONFIG, why, "listen = %.100s is too long", m->options.listen);
    const struct raft_server *own = raft_config_find(&m->peers, self);
    struct slice address =
        own ? slice_of(own->address, own->address_size) : slice_str(m->options.listen);
    (void)snprintf(m->address, sizeof m->address, "%.*s", (int)address.size,
                   (const char *)address.data);
    return status;
}
