/* What `cairn meta` asks one metaserver: who it is and how far it is, a checkpoint, a transfer. */
#include "common/base/check.h"
#include "metaserver/metaserver.h"

static uint8_t role_of(enum raft_role role)
{
    switch (role) {
    case RAFT_LEADER:
        return MEMBER_LEADER;
    case RAFT_CANDIDATE:
    case RAFT_PRE_CANDIDATE:
        return MEMBER_CANDIDATE;
    case RAFT_FOLLOWER:
        return MEMBER_FOLLOWER;
    }
    UNREACHABLE("role %d", (int)role);
}

static void answer_member(struct metaserver *m, struct rpc_request *take_request)
{
    struct rec_meta_status metas[RAFT_VOTERS_MAX];
    struct checkpoint_figures checkpoint;
    struct raft_status raft;
    struct bytes out = {0};
    raft_driver_status(m->driver, &raft);
    checkpointer_figures(m, &checkpoint);
    struct msg_meta_member_r r = {
        .cluster = m->cluster,
        .node = (uint32_t)m->options.id,
        .role = role_of(raft.role),
        .leader = raft.leader,
        .term = raft.term,
        .applied_index = meta_applied(m),
        .last_index = raft.last_index,
        .log_bytes = raft.log_bytes,
        .checkpoint_index = checkpoint.index,
        .checkpoint_age_ms = checkpoint.age_ms,
        .checkpoint_ms = checkpoint.took_ms,
        .checkpoint_every_ms = m->options.checkpoint_every,
        .checkpoint_error = slice_str(checkpoint.error),
    };
    r.metas =
        (struct wire_list){.count = status_fill_metas(m, metas, &r.commit_index), .items = metas};
    encode_meta_member_r(&out, &r);
    rpc_reply(take_request, MSG_meta_member_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
}

bool member_dispatch(struct metaserver *m, struct rpc_request *take_request)
{
    switch (take_request->code) {
    case MSG_meta_member:
        answer_member(m, take_request);
        return true;
    case MSG_meta_checkpoint:
        checkpointer_on_request(m, take_request);
        return true;
    default:
        return false;
    }
}

/* Only one who answers can take over; waiting for it would only stop all changes meanwhile. */
void member_on_transfer(struct metaserver *m, struct rpc_request *take_request)
{
    struct msg_meta_transfer ask;
    struct bytes out = {0};
    const char *why = NULL;
    int status = decode_meta_transfer(take_request->body, take_request->version, &ask);
    if (status == 0 && ask.node != m->options.id) {
        if (raft_driver_peer_address(m->driver, ask.node)[0] == '\0') {
            status = -ERR_NO_ENTRY;
            why = "no metaserver has this number; cairn meta ls shows them";
        } else if (!raft_driver_hears(m->driver, ask.node)) {
            status = -ERR_REFUSED;
            why = "it does not answer the leader; start it first";
        } else {
            status = raft_driver_transfer_to(m->driver, ask.node);
        }
    }
    if (status != 0) {
        rpc_reply_error(take_request, status, why, NULL);
        return;
    }
    encode_done_r(&out, &(struct msg_done_r){.index = 0});
    rpc_reply(take_request, MSG_done_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
}
