/* What `cairn status` and statfs show. */
#include <stdlib.h>

#include "common/base/check.h"
#include "metaserver/cluster/summary.h"
#include "metaserver/jobs.h"
#include "metaserver/metaserver.h"

uint32_t status_fill_metas(struct metaserver *m, struct rec_meta_status ret[RAFT_MEMBERS_MAX],
                           uint64_t *ret_commit)
{
    const struct raft_config *config = raft_driver_config(m->driver);
    struct raft_status status;
    raft_driver_status(m->driver, &status);
    *ret_commit = status.commit_index;
    for (unsigned i = 0; i < config->count; i++) {
        const struct raft_server *server = &config->servers[i];
        bool is_self = server->id == m->options.id;
        ret[i] =
            (struct rec_meta_status){.node = server->id,
                                     .address = slice_of(server->address, server->address_size),
                                     .up = is_self,
                                     .voter = server->voter,
                                     .joining = is_self && status.joining,
                                     .match_index = is_self ? status.last_index : 0};
        space_fill(m, server->id, &ret[i]);
        for (unsigned j = 0; j < status.peer_count; j++) {
            if (status.peers[j].id != server->id || is_self)
                continue;
            ret[i].match_index = status.peers[j].match_index;
            ret[i].joining = status.peers[j].joining;
            ret[i].up = raft_driver_hears(m->driver, server->id);
        }
    }
    return config->count;
}

static void fill_target(struct metaserver *m, const struct target *t, struct rec_target_status *ret)
{
    const struct target_heard *h = targets_heard(m, t->id);
    *ret = (struct rec_target_status){.target = t->id,
                                      .name = slice_str(t->name),
                                      .address = slice_str(t->address),
                                      .state = (uint8_t)t->state,
                                      .admin = (uint8_t)t->admin,
                                      .heard_ms = UINT32_MAX};
    struct slot_counts counts = cluster_count_slots(fs_shard_table(m->fs), t->id);
    ret->slots = counts.slots;
    ret->slots_in_sync = counts.in_sync;
    ret->slots_moving = counts.moving;
    /* Those for which servers are missing; other reasons pass, and are in job_list. */
    for (unsigned i = 0; i < m->plan->blocked_count; i++) {
        const struct plan_blocked *b = &m->plan->blocked[i];
        if (b->target == t->id && (b->reason == JOB_NO_TARGET || b->reason == JOB_NO_ROOM))
            ret->slots_blocked += b->slots;
    }
    ret->host = slice_str(t->host);
    ret->weight = t->weight;
    ret->admin_left_ms = jobs_maintenance_left_ms(m, t->id);
    if (!h)
        return;
    ret->chunk_bytes = h->chunk_bytes;
    ret->left_bytes = h->left_bytes;
    ret->bytes_total = h->bytes_total;
    ret->bytes_used = h->bytes_used;
    ret->chunk_count = h->chunk_count;
    if (h->heard_ms != 0)
        ret->heard_ms = (uint32_t)(loop_now_ms() - h->heard_ms);
    ret->read_bytes = h->read_bytes;
    ret->write_bytes = h->write_bytes;
    ret->resync_bytes = h->resync_bytes;
    ret->crc_errors = h->crc_errors;
    ret->blocks_repaired = h->blocks_repaired;
    ret->resync_chunks = h->resync_chunks;
}

void status_answer(struct metaserver *m, struct rpc_request *take_request)
{
    const struct shard_table *t = fs_shard_table(m->fs);
    struct rec_meta_status metas[RAFT_MEMBERS_MAX];
    struct rec_target_status *targets = calloc(t->target_count + 1, sizeof *targets);
    struct cluster_summary summary = cluster_summarize(t);
    struct checkpoint_figures checkpoint;
    struct fs_status counts;
    struct bytes out = {0};
    CHECK(targets != NULL);
    fs_get_status(m->fs, &counts);
    checkpointer_figures(m, &checkpoint);
    struct msg_status_r r = {
        .cluster = m->cluster,
        .leader = (uint32_t)m->options.id,
        .term = m->leader_term,
        .applied_index = counts.applied_index,
        .checkpoint_index = checkpoint.index,
        .checkpoint_age_ms = checkpoint.age_ms,
        .checkpoint_ms = checkpoint.took_ms,
        .checkpoint_error = slice_str(checkpoint.error),
        .file_count = counts.file_count,
        .directory_count = counts.directory_count,
        .metadata_bytes = counts.store_bytes,
        .session_count = counts.session_count,
        .copies = counts.copies,
        .shard_count = t->shard_count,
        .shards_full = summary.full,
        .shards_under = summary.under,
        .shards_last_copy = summary.last_copy,
        .shards_unavailable = summary.unavailable,
        .deletes_pending = counts.garbage_count,
        .space_level = (uint8_t)space_of_cluster(m),
    };
    r.metas =
        (struct wire_list){.count = status_fill_metas(m, metas, &r.commit_index), .items = metas};
    for (unsigned i = 0; i < t->target_count; i++)
        fill_target(m, &t->targets[i], &targets[i]);
    r.targets = (struct wire_list){.count = t->target_count, .items = targets};
    encode_status_r(&out, &r);
    rpc_reply(take_request, MSG_status_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
    free(targets);
}

void status_statfs(struct metaserver *m, struct rpc_request *take_request)
{
    const struct shard_table *t = fs_shard_table(m->fs);
    struct fs_status counts;
    struct bytes out = {0};
    uint64_t total = 0, used = 0;
    fs_get_status(m->fs, &counts);
    for (unsigned i = 0; i < t->target_count; i++) {
        const struct target_heard *h = targets_heard(m, t->targets[i].id);
        if (!h || t->targets[i].state != TARGET_UP)
            continue;
        total += h->bytes_total;
        used += h->bytes_used < h->bytes_total ? h->bytes_used : h->bytes_total;
    }
    unsigned copies = counts.copies ? counts.copies : 1;
    struct msg_meta_statfs_r r = {.bytes_total = total / copies,
                                  .bytes_free = (total - used) / copies,
                                  .file_count = counts.file_count + counts.directory_count,
                                  .files_free = UINT32_MAX};
    encode_meta_statfs_r(&out, &r);
    rpc_reply(take_request, MSG_meta_statfs_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
}
