/* One metadata operation as a stalling state machine. */
#include "common/client/op.h"

#include "common/base/check.h"
#include "common/base/err.h"

#include "common/base/banned.h"

enum {
    PAUSE_FIRST_MS = 5, /* a busy leader clears its queue in about one log sync */
    PAUSE_MAX_MS = 500,
};

void op_init(struct op *op, bool is_change, uint64_t deadline_ms)
{
    *op = (struct op){.state = OP_NEW, .is_change = is_change, .deadline_ms = deadline_ms};
}

static unsigned finish(struct op *op, int status)
{
    op->state = OP_DONE;
    op->status = status;
    return OP_FINISH;
}

static unsigned send(struct op *op)
{
    op->state = OP_SENT;
    op->sends++;
    return OP_SEND;
}

static unsigned stall(struct op *op)
{
    op->state = OP_STALLED;
    op->wake_at_ms = op->deadline_ms;
    return OP_WAIT;
}

static unsigned send_or_stall(struct op *op, const struct op_event *ev)
{
    return ev->session_up ? send(op) : stall(op);
}

static unsigned pause(struct op *op, const struct op_event *ev)
{
    op->pause_ms = op->pause_ms == 0 ? PAUSE_FIRST_MS : op->pause_ms * 2;
    if (op->pause_ms > PAUSE_MAX_MS)
        op->pause_ms = PAUSE_MAX_MS;
    if (ev->now_ms + op->pause_ms >= op->deadline_ms)
        return finish(op, ev->status);
    op->state = OP_PAUSED;
    op->wake_at_ms = ev->now_ms + op->pause_ms;
    return OP_WAIT;
}

static unsigned on_no_session(struct op *op, const struct op_event *ev)
{
    bool surely_not_run = !op->is_change || (op->sends == 1 && ev->sent_once);
#ifdef PLANT_R23
    surely_not_run = true;
#endif
    if (!surely_not_run)
        return finish(op, -ERR_IO) | OP_TELL_LOST;
    if (ev->now_ms >= op->deadline_ms)
        return finish(op, -ERR_TIMEOUT) | OP_TELL_LOST;
    op->sends = 0;
    /* The driver learns of the loss first and then knows whether a newer session is already up. */
    return stall(op) | OP_TELL_LOST;
}

static unsigned on_reply(struct op *op, const struct op_event *ev)
{
    CHECK(op->state == OP_SENT);
    op->status = ev->status;
    if (ev->status == 0)
        return finish(op, 0);
    if (ev->is_remote && ev->status == -ERR_NO_SESSION)
        return on_no_session(op, ev);
    bool full_here = !ev->is_remote && ev->status == -ERR_LIMIT;
    if (full_here || (ev->is_remote && err_retry(ev->status) != RETRY_NEVER))
        return pause(op, ev);
    return finish(op, ev->status);
}

unsigned op_step(struct op *op, const struct op_event *ev)
{
    CHECK(op->state != OP_DONE);
    switch (ev->kind) {
    case OP_EV_START:
        CHECK(op->state == OP_NEW);
        return send_or_stall(op, ev);
    case OP_EV_REPLY:
        return on_reply(op, ev);
    case OP_EV_TIMER:
        if (op->state == OP_PAUSED)
            return send_or_stall(op, ev);
        if (op->state == OP_STALLED && ev->now_ms >= op->deadline_ms)
            return finish(op, -ERR_TIMEOUT);
        return 0;
    case OP_EV_SESSION_UP:
        return op->state == OP_STALLED ? send(op) : 0;
    case OP_EV_CANCEL:
        return finish(op, -ERR_CANCELLED);
    }
    UNREACHABLE("op event %d", (int)ev->kind);
}
