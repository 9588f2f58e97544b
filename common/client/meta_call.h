/* One metadata rpc: drives op.c over rpc_leader, with sequence numbers, sessions and limits.
 *
 * A caller embeds struct meta_call, fills `body` with the encoded request and starts it; `fn` runs
 * once, never from inside meta_call_start. Requests whose first field is a wire_caller get session,
 * sequence and lowest_unanswered written into the encoded body at every send. */
#ifndef CAIRN_CLIENT_META_CALL_H
#define CAIRN_CLIENT_META_CALL_H

#include "common/base/bytes.h"
#include "common/client/client_private.h"
#include "common/client/op.h"

struct meta_call;
/* reply is NULL when none was received. The call may be freed in here. */
typedef void meta_call_fn(struct meta_call *call, int status, struct rpc_reply *reply);

enum meta_call_kind {
    META_READ,   /* a wire_caller comes first; not logged, sequence 0 */
    META_CHANGE, /* a wire_caller comes first; logged, exactly once */
    META_PLAIN,  /* no caller in the request: needs no session */
};

struct meta_call {
    struct list node;
    struct client *c;
    enum meta_call_kind kind;
    uint16_t code;
    struct bytes body; /* released when the call ends */
    struct op op;
    struct loop_timer timer;
    uint64_t session, sequence; /* of the last send */
    uint64_t rpc_id;            /* 0 = none under way */
    uint64_t leader_changes;    /* of the session struct, when it was sent */
    bool leader_known;          /* when it was sent */
    bool started;
    uint64_t asked_ms; /* first start: answers are at least as fresh as this */
    meta_call_fn *fn;
};

/* body must be filled. Over CLIENT_CALLS_MAX it waits in the order of the starts; the deadline
 * counts from now on. */
void meta_call_start(struct meta_call *call, struct client *c, enum meta_call_kind kind,
                     uint16_t code, meta_call_fn *fn);

#endif
