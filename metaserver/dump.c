/* Dumps and loads of the namespace.
 *
 * A dump is read piece by piece from a snapshot that the leader keeps for it. A snapshot keeps old
 * pages of the database from being used again, so one that nobody asks about is closed soon. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/fs/dump.h"
#include "metaserver/metaserver.h"

enum {
    DUMPS_MAX = 4,
    DUMP_IDLE_MS = 30000,
    FOREIGN_RECENT_MS = 60000, /* a chunkserver that is refused knocks every few seconds */
};

struct dumper {
    struct {
        uint64_t id; /* 0 = not in use */
        uint64_t used_ms;
        struct fs_view *view;
        struct fs_dump_head head;
    } dumps[DUMPS_MAX];
    struct fs_dump_rows rows;
    struct bytes last;
    /* The last chunkserver of another cluster that wanted to register here. */
    struct uuid foreign_cluster;
    char foreign_address[64];
    uint64_t foreign_ms; /* 0 = none */
};

struct dumper *dumper_create(void)
{
    struct dumper *d = calloc(1, sizeof *d);
    CHECK(d != NULL);
    return d;
}

static void close_one(struct dumper *d, unsigned i)
{
    fs_view_end(d->dumps[i].view);
    d->dumps[i].view = NULL;
    d->dumps[i].id = 0;
}

void dumper_close_all(struct dumper *d)
{
    for (unsigned i = 0; d && i < DUMPS_MAX; i++)
        close_one(d, i);
}

void dumper_destroy(struct dumper *d)
{
    if (!d)
        return;
    dumper_close_all(d);
    fs_dump_rows_release(&d->rows);
    bytes_release(&d->last);
    free(d);
}

void dumper_tick(struct metaserver *m)
{
    struct dumper *d = m->dumper;
    for (unsigned i = 0; i < DUMPS_MAX; i++)
        if (d->dumps[i].id && loop_now_ms() - d->dumps[i].used_ms > DUMP_IDLE_MS)
            close_one(d, i);
}

/* ---- a piece ---- */

static void reply_piece(struct metaserver *m, unsigned i, struct slice after,
                        struct rpc_request *take_request)
{
    struct dumper *d = m->dumper;
    const struct fs_dump_head *h = &d->dumps[i].head;
    struct fs_dump_rows *rows = &d->rows;
    struct bytes out = {0};
    bool end = false;
    fs_dump_rows_clear(rows);
    int status = fs_dump_next(d->dumps[i].view, after, rows, &d->last, &end);
    if (status != 0) {
        rpc_reply_error(take_request, status, "the database cannot be read; try: cairn fsck", NULL);
        return;
    }
    struct msg_meta_dump_r r = {
        .dump = d->dumps[i].id,
        .cluster = h->cluster,
        .index = h->index,
        .term = h->term,
        .copies = h->copies,
        .inode_next = h->inode_next,
        .last = bytes_slice(&d->last),
        .end = end,
        .names = {.count = rows->name_count, .raw = bytes_slice(&rows->names)},
        .chunks = {.count = rows->chunk_count, .raw = bytes_slice(&rows->chunks)},
        .links = {.count = rows->link_count, .raw = bytes_slice(&rows->links)},
        .inodes = {.count = rows->inode_count, .raw = bytes_slice(&rows->inodes)},
    };
    encode_meta_dump_r(&out, &r);
    rpc_reply(take_request, MSG_meta_dump_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
    d->dumps[i].used_ms = loop_now_ms();
}

struct waiting_dump {
    struct metaserver *m;
    struct rpc_request *request;
};

static int open_one(struct metaserver *m, unsigned i)
{
    struct dumper *d = m->dumper;
    int status = meta_commit(m);
    if (status == 0)
        status = fs_view_begin(m->fs, &d->dumps[i].view);
    if (status == 0)
        status = fs_dump_get_head(d->dumps[i].view, &d->dumps[i].head);
    if (status != 0) {
        close_one(d, i);
        return status;
    }
    d->dumps[i].id = random_u64() | 1;
    return 0;
}

static void begin(struct metaserver *m, struct rpc_request *take_request)
{
    struct dumper *d = m->dumper;
    struct fs_status counts;
    unsigned i = 0;
    while (i < DUMPS_MAX && d->dumps[i].id)
        i++;
    fs_get_status(m->fs, &counts);
    if (i == DUMPS_MAX) {
        rpc_reply_error(take_request, -ERR_BUSY, "other dumps are under way: wait for their end",
                        NULL);
        return;
    }
    int status = counts.is_loading ? -ERR_BUSY : open_one(m, i);
    if (status != 0)
        rpc_reply_error(take_request, status,
                        counts.is_loading ? "a dump is being loaded: wait for its end" : NULL,
                        NULL);
    else
        reply_piece(m, i, slice_of("", 0), take_request);
}

static void on_read_ready(void *arg, int status)
{
    struct waiting_dump *w = arg;
    if (status == 0)
        begin(w->m, w->request);
    else
        meta_refuse(w->m, w->request);
    free(w);
}

void dumper_on_dump(struct metaserver *m, struct rpc_request *take_request)
{
    struct dumper *d = m->dumper;
    struct msg_meta_dump ask;
    int status = decode_meta_dump(take_request->body, take_request->version, &ask);
    if (status != 0) {
        rpc_reply_error(take_request, status, NULL, NULL);
        return;
    }
    if (ask.dump == 0) { /* of the state as it is now, not as a leader of yesterday knows it */
        struct waiting_dump *w = malloc(sizeof *w);
        CHECK(w != NULL);
        *w = (struct waiting_dump){m, take_request};
        raft_driver_read(m->driver, on_read_ready, w);
        return;
    }
    for (unsigned i = 0; i < DUMPS_MAX; i++)
        if (d->dumps[i].id == ask.dump) {
            reply_piece(m, i, ask.after, take_request);
            return;
        }
    rpc_reply_error(take_request, -ERR_STALE_HANDLE,
                    "the leader changed, or the dump stood still too long: start it again", NULL);
}

/* ---- may a dump be loaded? ---- */

void dumper_note_foreign(struct metaserver *m, const struct rpc_remote *remote)
{
    struct dumper *d = m->dumper;
    d->foreign_cluster = remote->identity.cluster;
    (void)snprintf(d->foreign_address, sizeof d->foreign_address, "%s", remote->address);
    d->foreign_ms = loop_now_ms();
}

static int refuse_foreign(const struct metaserver *m, struct err_text *why)
{
    const struct dumper *d = m->dumper;
    char cluster[UUID_TEXT_SIZE];
    if (d->foreign_ms == 0 || loop_now_ms() - d->foreign_ms > FOREIGN_RECENT_MS)
        return 0;
    uuid_format(&d->foreign_cluster, cluster);
    return err_set(
        ERR_REFUSED, why,
        "a chunkserver of cluster %s knocks here (from %s) and refuses this cluster: its "
        "chunks cannot serve the loaded files. Stop it, wait a minute, try again",
        cluster, d->foreign_address);
}

/* Chunks that are on the servers of an empty cluster belong to files that this load would not
 * know, or give other meanings. */
static int refuse_chunks(const struct metaserver *m, struct err_text *why)
{
    const struct shard_table *t = fs_shard_table(m->fs);
    for (unsigned i = 0; i < t->target_count; i++) {
        const struct target_heard *h = targets_heard(m, t->targets[i].id);
        if (!h || h->heard_ms == 0)
            return err_set(ERR_REFUSED, why,
                           "%s does not answer, so nobody knows whether it holds chunks: start it",
                           t->targets[i].name);
        if (h->chunk_count > 0)
            return err_set(ERR_REFUSED, why,
                           "%s holds %llu chunks of other files: load into a cluster whose "
                           "chunkservers are empty",
                           t->targets[i].name, (unsigned long long)h->chunk_count);
    }
    return refuse_foreign(m, why);
}

static int may_load(struct metaserver *m, const struct msg_meta_load_begin *ask,
                    struct err_text *why)
{
    struct fs_status s;
    struct uuid file;
    fs_get_status(m->fs, &s);
    if (fs_get_loading(meta_view(m), &file) == 0 && memcmp(&file, &ask->file, sizeof file) != 0)
        return err_set(ERR_REFUSED, why,
                       "a load of another file was broken off; load that file again, or make a new "
                       "cluster");
    if (s.is_loading)
        return 0; /* it goes on */
    if (!s.formed)
        return err_set(ERR_UNAVAILABLE, why, "the cluster is just being made: try again");
    if (s.file_count != 0 || s.directory_count != 1)
        return err_set(ERR_NOT_EMPTY_STATE, why,
                       "the cluster is not empty: it has %llu files and %llu folders. A dump can "
                       "only be loaded into a new cluster",
                       (unsigned long long)s.file_count,
                       (unsigned long long)(s.directory_count - 1));
    if (s.session_count != 0)
        return err_set(ERR_NOT_EMPTY_STATE, why,
                       "%u clients are connected: unmount them first (a client that died counts "
                       "for 30 s)",
                       s.session_count);
    if (s.garbage_count != 0)
        return err_set(ERR_NOT_EMPTY_STATE, why,
                       "%llu deleted chunks are still being removed: wait, or load into a new "
                       "cluster",
                       (unsigned long long)s.garbage_count);
    if (ask->copies != s.copies)
        return err_set(ERR_REFUSED, why,
                       "the dump is of files with %u copies, and this cluster makes %u: make one "
                       "with copies = %u",
                       ask->copies, s.copies, ask->copies);
    return refuse_chunks(m, why);
}

void dumper_on_load_begin(struct metaserver *m, struct rpc_request *take_request)
{
    struct msg_meta_load_begin ask;
    struct err_text why = {""};
    int status = decode_meta_load_begin(take_request->body, take_request->version, &ask);
    if (status == 0)
        status = may_load(m, &ask, &why);
    if (status == 0)
        meta_propose_request(m, take_request);
    else
        rpc_reply_error(take_request, status, why.text, NULL);
}
