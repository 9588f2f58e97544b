/* What `cairn meta` asks one metaserver: who it is and how far it is, a checkpoint, a transfer, a
 * change of the members. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
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
    struct rec_meta_status metas[RAFT_MEMBERS_MAX];
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

/* ---- changes of the members ---- */

_Static_assert((int)META_CHANGE_ADD == (int)RAFT_CHANGE_ADD &&
                   (int)META_CHANGE_PROMOTE == (int)RAFT_CHANGE_PROMOTE &&
                   (int)META_CHANGE_REMOVE == (int)RAFT_CHANGE_REMOVE,
               "the kinds on the wire are the core's");

struct waiting_change {
    struct metaserver *m;
    struct rpc_request *request;
};

static void on_changed(void *arg, int status, uint64_t index)
{
    struct waiting_change *w = arg;
    struct bytes out = {0};
    if (status != 0) {
        /* Another leader knows; asked again, it says whether it was done. */
        rpc_reply_error(w->request, -ERR_NOT_LEADER, "the leader changed meanwhile: ask again",
                        raft_driver_leader_address(w->m->driver));
    } else {
        encode_done_r(&out, &(struct msg_done_r){.index = index});
        rpc_reply(w->request, MSG_done_r, bytes_slice(&out), NULL, 0);
        bytes_release(&out);
    }
    free(w);
}

/* host:port, in characters that no list of addresses uses otherwise. */
static bool is_address(struct slice text)
{
    size_t colon = text.size;
    if (text.size > RAFT_ADDRESS_MAX)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c <= ' ' || c > '~' || c == ',' || c == '=')
            return false;
        if (c == ':')
            colon = i;
    }
    if (colon == 0 || colon + 1 >= text.size || text.size - colon > 6)
        return false;
    for (size_t i = colon + 1; i < text.size; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    return true;
}

/* Two names for one process would count it twice. */
static bool is_taken(const struct metaserver *m, struct slice address)
{
    const struct raft_config *config = raft_driver_config(m->driver);
    for (unsigned i = 0; i < config->count; i++)
        if (config->servers[i].address_size == address.size &&
            memcmp(config->servers[i].address, address.data, address.size) == 0)
            return true;
    return false;
}

static const char *refusal_text(enum raft_change_kind kind, int status)
{
    switch (-status) {
    case ERR_BUSY:
        return kind == RAFT_CHANGE_PROMOTE
                   ? "it has not caught up, or does not answer the leader"
                   : "another change of the metaservers or of the leader is under way";
    case ERR_EXISTS:
        return "there is a metaserver with this number";
    case ERR_LIMIT:
        return "there are as many metaservers as a cluster may have; remove one first";
    case ERR_REFUSED:
        return "too few of those that remain answer: without it they could not go on; start them "
               "first";
    case ERR_INVALID:
        return kind == RAFT_CHANGE_ADD ? "this number or address cannot be used"
                                       : "no metaserver has this number, or it votes already";
    default:
        return NULL;
    }
}

/* R12, R26: the core decides what may follow what; here nothing from outside is believed. */
void member_on_change(struct metaserver *m, struct rpc_request *take_request)
{
    struct msg_meta_change ask;
    const char *why = NULL;
    int status = decode_meta_change(take_request->body, take_request->version, &ask);
    if (status == 0 && (ask.kind < RAFT_CHANGE_ADD || ask.kind >= RAFT_CHANGE_MAX))
        status = -ERR_PROTOCOL;
    if (status != 0) {
        rpc_reply_error(take_request, status, NULL, NULL);
        return;
    }
    enum raft_change_kind kind = (enum raft_change_kind)ask.kind;
    struct waiting_change *w = malloc(sizeof *w);
    CHECK(w != NULL);
    *w = (struct waiting_change){m, take_request};
    log_info("meta.change", "kind=%d id=m%u address=%.*s", ask.kind, ask.node,
             (int)ask.address.size, (const char *)ask.address.data);
    if (kind == RAFT_CHANGE_ADD && (!is_address(ask.address) || ask.node == 0 || ask.node > 1000)) {
        status = -ERR_INVALID;
    } else if (kind == RAFT_CHANGE_ADD && is_taken(m, ask.address)) {
        status = -ERR_EXISTS;
        why = "there is a metaserver with this number or at this address";
    } else if (kind == RAFT_CHANGE_REMOVE &&
               !raft_driver_most_answer(m->driver, ask.node, 3 * m->options.heartbeat)) {
        /* The core counts who answered within an election timeout. One that died just now would be
         * believed, and a removal that nobody can commit stops the cluster: look twice. */
        status = raft_driver_most_answer(m->driver, ask.node, 2 * m->options.election)
                     ? -ERR_BUSY
                     : -ERR_REFUSED;
    } else {
        status = raft_driver_change(m->driver, kind, ask.node, ask.address, on_changed, w);
    }
    if (status == 0)
        return;
    free(w);
    rpc_reply_error(take_request, status, why ? why : refusal_text(kind, status),
                    status == -ERR_NOT_LEADER ? raft_driver_leader_address(m->driver) : NULL);
}
