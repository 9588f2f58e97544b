/* One metadata operation as a stalling state machine. Pure: the driver (meta_call.c) tells it what
 * happened and does what it answers.
 *
 * Finding the leader and sending the same bytes again after a lost connection is rpc_leader's duty.
 * Here is what lies above: no session yet, session lost, a leader that is busy, the deadline.
 *
 *   NEW -> STALLED   there is no session: waits for one
 *       -> SENT      the request is with rpc_leader
 *   SENT -> PAUSED   the leader says "later"; a pause, then the same sequence again
 *        -> STALLED  the session is gone and the request surely did not run: it goes into the next
 *   any -> DONE
 *
 * A change whose session is gone and that may have run ends with -ERR_IO: nobody remembers its
 * answer any more (R22, R23). */
#ifndef CAIRN_CLIENT_OP_H
#define CAIRN_CLIENT_OP_H

#include <stdbool.h>
#include <stdint.h>

enum op_state { OP_NEW, OP_STALLED, OP_SENT, OP_PAUSED, OP_DONE };

enum op_event_kind {
    OP_EV_START,
    OP_EV_REPLY, /* of rpc_leader */
    OP_EV_TIMER, /* wake_at_ms has come */
    OP_EV_SESSION_UP,
    OP_EV_CANCEL, /* the client is being closed */
};

struct op_event {
    enum op_event_kind kind;
    uint64_t now_ms;
    bool session_up; /* there is a session now */
    int status;      /* of a REPLY */
    bool is_remote;  /* the server answered it */
    bool sent_once;  /* the request left on one connection to one leader, once */
};

enum op_todo {
    OP_SEND = 1u << 0, /* with the present session; the same sequence if it is the same session */
    OP_WAIT = 1u << 1, /* TIMER at wake_at_ms */
    OP_TELL_LOST = 1u << 2, /* the session it was sent in is gone */
    OP_FINISH = 1u << 3,    /* with op->status */
};

struct op {
    enum op_state state;
    bool is_change;
    unsigned sends;
    unsigned pause_ms;
    uint64_t deadline_ms, wake_at_ms;
    int status; /* of the last answer; the outcome when DONE */
};

void op_init(struct op *op, bool is_change, uint64_t deadline_ms);
unsigned op_step(struct op *op, const struct op_event *ev);

#endif
