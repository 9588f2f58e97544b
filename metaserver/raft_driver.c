/* Gives events to raft and carries out its duties in order. */
#include "metaserver/raft_driver.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/raft_driver_private.h"

static uint64_t boot_ms(void)
{
    struct timespec now;
#ifdef PLANT_R25
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
#endif
    CHECK(clock_gettime(CLOCK_BOOTTIME, &now) ==
          0); /* raft.h: it must go on while the machine sleeps */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct raft_event raft_driver_event(enum raft_event_kind kind)
{
    struct raft_event event;
    memset(&event, 0, sizeof event);
    event.kind = kind;
    event.now_ms = boot_ms();
    return event;
}

/* ---- proposals ---- */

static void proposal_end(struct raft_driver *d, struct proposal *p, int status, uint64_t index)
{
    raft_proposal_fn *done = p->done;
    void *arg = p->arg;
    d->proposal_count--;
    buf_unref(p->buf);
    free(p);
    done(arg, status, index);
}

static void refuse_new(struct raft_driver *d, int status)
{
    while (!list_empty(&d->new_proposals)) {
        struct proposal *p = CONTAINER_OF(d->new_proposals.next, struct proposal, node);
        list_remove(&p->node);
        proposal_end(d, p, p->refusal ? p->refusal : status, 0);
    }
}

/* Those that were over a limit when they came. */
static void refuse_excess(struct raft_driver *d)
{
    LIST_EACH(node, &d->new_proposals)
    {
        struct proposal *p = CONTAINER_OF(node, struct proposal, node);
        if (!p->refusal)
            continue;
        list_remove(node);
        proposal_end(d, p, p->refusal, 0);
    }
}

void raft_driver_propose(struct raft_driver *d, struct buf *take_buf, struct slice payload,
                         raft_proposal_fn *done, void *arg)
{
    struct proposal *p = calloc(1, sizeof *p);
    CHECK(p != NULL);
    *p = (struct proposal){.buf = take_buf, .payload = payload, .done = done, .arg = arg};
    if (d->proposal_count >= PROPOSALS_MAX)
        p->refusal = -ERR_BUSY;
    else if (payload.size > PROPOSAL_SIZE_MAX ||
             payload.size > log_store_entry_size_max(d->options.log))
        p->refusal = -ERR_LIMIT; /* no frame or no log could carry it */
    list_append(&d->new_proposals, &p->node);
    d->proposal_count++;
    loop_defer_schedule(&d->defer);
}

static void on_defer(void *arg);

/* One raft event for what came in this iteration. */
static void propose_batch(struct raft_driver *d)
{
    struct raft_entry entries[PROPOSAL_BATCH_MAX];
    struct raft_event event = raft_driver_event(RAFT_EV_PROPOSE);
    struct raft_status before;
    unsigned count = 0;
    memset(entries, 0, sizeof entries);
    for (struct list *node = d->new_proposals.next;
         node != &d->new_proposals && count < PROPOSAL_BATCH_MAX; node = node->next) {
        const struct proposal *p = CONTAINER_OF(node, struct proposal, node);
        entries[count].kind = RAFT_ENTRY_COMMAND;
        entries[count].buf = p->buf;
        entries[count].payload = p->payload;
        count++;
    }
    raft_status_get(d->raft, &before);
    /* Known before the step, because a single node may apply within it. */
    for (unsigned i = 0; i < count; i++) {
        struct list *node = d->new_proposals.next;
        struct proposal *p = CONTAINER_OF(node, struct proposal, node);
        list_remove(node);
        p->index = before.last_index + 1 + i;
        p->term = before.term;
        (void)map_put(&d->by_index, p->index, p);
    }
    event.propose.entries = entries;
    event.propose.entry_count = count;
    int status = raft_driver_step(d, &event);
    for (unsigned i = 0; status != 0 && i < count; i++) {
        struct proposal *p = map_remove(&d->by_index, before.last_index + 1 + i);
        if (p)
            proposal_end(d, p, status == -ERR_BUSY ? -ERR_BUSY : -ERR_NOT_LEADER, 0);
    }
}

int raft_driver_change(struct raft_driver *d, enum raft_change_kind kind, uint32_t id,
                       struct slice address, raft_proposal_fn *done, void *arg)
{
    struct raft_event event = raft_driver_event(RAFT_EV_CHANGE);
    struct raft_status before;
    event.change.kind = kind;
    event.change.id = id;
    event.change.address = address;
    if (!list_empty(&d->new_proposals))
        on_defer(d); /* they come first, as always */
    raft_status_get(d->raft, &before);
    struct proposal *p = calloc(1, sizeof *p);
    CHECK(p != NULL);
    *p = (struct proposal){
        .index = before.last_index + 1, .term = before.term, .done = done, .arg = arg};
    d->proposal_count++;
    (void)map_put(&d->by_index, p->index, p);
    int status = raft_driver_step(d, &event);
    if (status == 0)
        return 0;
    CHECK(map_remove(&d->by_index, p->index) == p);
    d->proposal_count--;
    free(p);
    return status;
}

static void on_defer(void *arg)
{
    struct raft_driver *d = arg;
    refuse_excess(d);
    /* A batch that raft refuses has its answers; those behind it must not wait for another. */
    while (!list_empty(&d->new_proposals)) {
        if (d->role != RAFT_LEADER) {
            refuse_new(d, -ERR_NOT_LEADER);
        } else if (log_store_space_low(d->options.log)) {
            raft_writer_retry_space(d);
            refuse_new(d, -ERR_NO_SPACE);
        } else {
            propose_batch(d);
        }
    }
}

void raft_driver_complete(struct raft_driver *d, uint64_t index, uint64_t term)
{
    struct proposal *p = map_remove(&d->by_index, index);
    if (p)
        proposal_end(d, p, p->term == term ? 0 : -ERR_CLOSED, index);
}

/* Leadership is gone: what raft had is open, its callers ask the next leader with the same id. */
static void release_proposals(struct raft_driver *d)
{
    size_t cursor = 0;
    struct map_entry *e;
    while ((e = map_next(&d->by_index, &cursor))) {
        struct proposal *p = e->value;
        (void)map_remove(&d->by_index, p->index);
        proposal_end(d, p, -ERR_CLOSED, 0);
    }
    refuse_new(d, -ERR_NOT_LEADER);
}

/* ---- reads ---- */

static void read_end(struct waiting_read *r, int status)
{
    list_remove(&r->node);
    raft_read_fn *done = r->done;
    void *arg = r->arg;
    free(r);
    done(arg, status);
}

/* A leader whose database has no room answers from what it has applied. That is not stale: all
 * entries before its own term are in, and of a later one only this leader could have told the
 * outcome; it did not, or the entry is in. */
static bool is_current(const struct raft_driver *d, uint64_t index)
{
    return index <= d->applied_index ||
           (d->is_stalled && d->role == RAFT_LEADER && d->applied_index >= d->reign_index &&
            d->applied_index >= d->answered_index);
}

/* A callback may ask for another read: the list is looked at anew after each. */
void raft_driver_serve_reads(struct raft_driver *d)
{
    struct list *node = d->reads.next;
    while (node != &d->reads) {
        struct waiting_read *r = CONTAINER_OF(node, struct waiting_read, node);
        node = node->next;
        if (!r->confirmed || !is_current(d, r->index))
            continue;
        read_end(r, r->status);
        node = d->reads.next;
    }
}

/* Only marks them: callbacks may step raft, and then the update is void. */
static void take_reads(struct raft_driver *d, const struct raft_update *u)
{
    for (unsigned i = 0; i < u->reads.count; i++) {
        LIST_EACH(node, &d->reads)
        {
            struct waiting_read *r = CONTAINER_OF(node, struct waiting_read, node);
            if (r->id != u->reads.reads[i].id)
                continue;
            r->confirmed = true;
            r->status = u->reads.reads[i].status;
            r->index = r->status == 0 ? u->reads.reads[i].index : 0;
            break;
        }
    }
}

/* What the leader knows besides the state machine is gone: not even a read that was confirmed and
 * waits for its index is answered from here. */
static void release_reads(struct raft_driver *d, int status)
{
    while (!list_empty(&d->reads))
        read_end(CONTAINER_OF(d->reads.next, struct waiting_read, node), status);
}

bool raft_driver_leads(struct raft_driver *d)
{
    return d->role == RAFT_LEADER && raft_lease_valid(d->raft, boot_ms());
}

bool raft_driver_may_read(struct raft_driver *d)
{
    struct raft_status status;
    if (!raft_driver_leads(d))
        return false;
    raft_status_get(d->raft, &status);
    return is_current(d, status.commit_index);
}

void raft_driver_read(struct raft_driver *d, raft_read_fn *done, void *arg)
{
    struct raft_event event = raft_driver_event(RAFT_EV_READ);
    struct waiting_read *r = calloc(1, sizeof *r);
    CHECK(r != NULL);
    *r = (struct waiting_read){.id = ++d->next_read_id, .done = done, .arg = arg};
    list_append(&d->reads, &r->node);
    event.read_id = r->id;
    int status = raft_driver_step(d, &event);
    if (status != 0)
        read_end(r, status);
}

/* ---- updates ---- */

static void change_role(struct raft_driver *d, const struct raft_update *u)
{
    bool has_lost = d->role == RAFT_LEADER && (u->role != RAFT_LEADER || u->term != d->term);
    d->role = u->role;
    d->leader = u->leader;
    d->term = u->term;
    if (u->role == RAFT_LEADER) {
        struct raft_status status;
        raft_status_get(d->raft, &status);
        d->reign_index = status.last_index;
    }
    if (has_lost) {
        release_proposals(d);
        release_reads(d, -ERR_NOT_LEADER);
    }
    if (d->role != RAFT_FOLLOWER && !d->is_stalled)
        raft_driver_apply_wanted(d);
    d->options.ops->role_changed(d->options.arg, u->role, u->leader, u->term);
}

static void carry_out(struct raft_driver *d, const struct raft_update *u)
{
    if (u->todo & RAFT_CONFIG_CHANGED)
        raft_peers_follow(d); /* first: messages to a new member find its address */
    if (u->todo & RAFT_PERSIST_VOTE) {
        int status = log_store_set_vote(d->options.log, u->vote.term, u->vote.voted_for);
        if (status != 0)
            raft_driver_die(d, "term and vote", status);
    }
    if (u->todo & RAFT_JOINED) {
        int status = d->options.ops->joined(d->options.arg);
        if (status != 0)
            raft_driver_die(d, "standing", status);
    }
    raft_driver_send(d, &u->send_now);
    if (u->todo & RAFT_RESET_LOG)
        raft_writer_reset(d, u->log_reset.index, u->log_reset.term);
    raft_driver_send(d, &u->send_durable);
    if (u->todo & RAFT_PERSIST_ENTRIES)
        raft_writer_add(d, u);
    take_reads(d, u);
    /* What follows may step raft again and so must not look at the update any more. */
    struct raft_update copy = *u;
    loop_timer_start_ms(&d->timer, copy.wake_at_ms > boot_ms() ? copy.wake_at_ms - boot_ms() : 0);
    if (copy.todo & RAFT_ROLE_CHANGED)
        change_role(d, &copy);
    if (copy.todo & RAFT_FETCH_SNAPSHOT)
        raft_fetch_start(d, copy.fetch.from, copy.fetch.index, copy.fetch.term);
    if (copy.todo & RAFT_APPLY)
        raft_driver_apply(d, copy.apply_index);
    raft_driver_serve_reads(d);
}

int raft_driver_step(struct raft_driver *d, const struct raft_event *event)
{
    struct raft_update update;
    if (d->is_stopping)
        return -ERR_CANCELLED;
    int status = raft_step(d->raft, event, &update);
    if (status == 0)
        carry_out(d, &update);
    return status;
}

static void on_timer(void *arg)
{
    struct raft_driver *d = arg;
    struct raft_event event = raft_driver_event(RAFT_EV_TICK);
    (void)raft_driver_step(d, &event);
}

static void on_served_timer(void *arg)
{
    raft_serve_close(arg, false);
}

/* ---- life ---- */

static int start(struct raft_driver *d, struct err_text *why)
{
    const struct raft_driver_options *o = &d->options;
    struct raft_event event = raft_driver_event(RAFT_EV_START);
    struct log_gather *g = o->take_entries;
    struct log_vote vote;
    log_store_vote(o->log, &vote);
    /* Entries behind a checkpoint serve slow followers; beyond a gap they are of no use. */
    if (!log_gather_holds(g, o->recovery->first_index, o->recovery->last_index)) {
        log_gather_release(g);
        return err_set(ERR_FAULTY_LOG, why, "%.160s: cannot read the log back",
                       log_store_folder(o->log));
    }
    event.start.term = vote.term;
    event.start.voted_for = vote.voted_for;
    event.start.snapshot_index = o->checkpoint.index;
    event.start.snapshot_term = o->checkpoint.term;
    event.start.applied_index = o->applied_index;
    event.start.config = o->config;
    event.start.joining = o->joining;
    event.start.entries = g->entries;
    event.start.entry_count = g->count;
    raft_driver_set_applied(d, o->applied_index);
    int status = raft_driver_step(d, &event);
    log_gather_release(g);
    if (status != 0)
        return err_set(ERR_FAULTY_LOG, why,
                       "%.160s: log, checkpoint and database do not fit together: %s",
                       log_store_folder(o->log), err_text(status));
    return 0;
}

int raft_driver_create(const struct raft_driver_options *options, struct raft_driver **ret_driver,
                       struct err_text *why)
{
    struct raft_driver *d = calloc(1, sizeof *d);
    CHECK(d != NULL);
    d->options = *options;
    d->election_ms = options->raft->election_ms_max;
    int status = raft_create(options->raft, options->self, random_u64(), &d->raft);
    if (status != 0) {
        free(d);
        return err_set(ERR_CONFIG, why, "the times of [raft] do not go together");
    }
    list_init(&d->new_proposals);
    list_init(&d->reads);
    map_init(&d->by_index, random_u64());
    loop_timer_init(&d->timer, options->loop, on_timer, d);
    loop_timer_init(&d->apply_timer, options->loop, raft_driver_on_apply_timer, d);
    loop_timer_init(&d->served_timer, options->loop, on_served_timer, d);
    loop_defer_init(&d->defer, options->loop, on_defer, d);
    raft_writer_start(d);
    d->slow = work_pool_create(options->loop, 1, 64);
    *ret_driver = d; /* a sole voter leads before the start ends, and is asked for things */
    status = start(d, why);
    d->options.config = NULL;
    if (status == 0)
        return 0;
    *ret_driver = NULL;
    raft_driver_destroy(d);
    return status;
}

void raft_driver_destroy(struct raft_driver *d)
{
    d->is_stopping = true; /* raft hears and says nothing more */
    raft_fetch_cancel(d);
    work_pool_destroy(d->slow);
    raft_serve_close(d, true);
    loop_timer_stop(&d->served_timer);
    raft_writer_stop(d);
    release_proposals(d);
    release_reads(d, -ERR_CANCELLED);
    loop_timer_stop(&d->timer);
    loop_timer_stop(&d->apply_timer);
    loop_defer_cancel(&d->defer);
    raft_peers_release(d);
    map_release(&d->by_index);
    raft_destroy(d->raft);
    free(d);
}

/* ---- small questions ---- */

const struct raft_entry *raft_driver_entry(struct raft_driver *d, uint64_t index)
{
    return raft_entry_at(d->raft, index);
}

bool raft_driver_is_leader(const struct raft_driver *d)
{
    return d->role == RAFT_LEADER;
}

const char *raft_driver_peer_address(const struct raft_driver *d, uint32_t id)
{
    for (unsigned i = 0; i < d->peer_count; i++)
        if (d->peers[i].id == id)
            return d->peers[i].address;
    return "";
}

bool raft_driver_most_answer(const struct raft_driver *d, uint32_t without, uint64_t ms)
{
    struct raft_status status;
    unsigned voters = 0, heard = 0;
    raft_status_get(d->raft, &status);
    for (unsigned i = 0; i < status.peer_count; i++) {
        const struct raft_peer_status *p = &status.peers[i];
        if (!p->voter || p->id == without)
            continue;
        voters++;
        heard += p->id == status.self ||
                 (p->heard_ms != 0 && !p->joining && p->heard_ms + ms >= boot_ms());
    }
    return heard >= voters / 2 + 1;
}

const struct raft_config *raft_driver_config(const struct raft_driver *d)
{
    uint64_t index;
    return raft_config_get(d->raft, &index);
}

int raft_driver_config_at(const struct raft_driver *d, uint64_t index,
                          uint8_t ret_bytes[RAFT_CONFIG_BYTES_MAX])
{
    struct raft_config config;
    int status = raft_config_at(d->raft, index, &config);
    return status != 0 ? status : (int)raft_config_encode(&config, ret_bytes);
}

bool raft_driver_hears(const struct raft_driver *d, uint32_t id)
{
    struct raft_status status;
    raft_status_get(d->raft, &status);
    for (unsigned i = 0; i < status.peer_count; i++)
        if (status.peers[i].id == id && status.peers[i].heard_ms != 0)
            return status.peers[i].heard_ms + d->election_ms >= boot_ms();
    return false;
}

/* One that was removed hears of no leader any more, but may be all that a client knows: it names
 * one of those that stayed. */
static const char *successor_address(const struct raft_driver *d)
{
    const struct raft_config *config = raft_driver_config(d);
    if (raft_config_find(config, d->options.self))
        return "";
    for (unsigned i = 0; i < config->count; i++)
        if (config->servers[i].voter)
            return raft_driver_peer_address(d, config->servers[i].id);
    return "";
}

const char *raft_driver_leader_address(const struct raft_driver *d)
{
    return d->leader ? raft_driver_peer_address(d, d->leader) : successor_address(d);
}

void raft_driver_status(const struct raft_driver *d, struct raft_status *ret_status)
{
    raft_status_get(d->raft, ret_status);
}

void raft_driver_compact(struct raft_driver *d, struct checkpoint_id newest, uint64_t trim_index)
{
    struct raft_event event = raft_driver_event(RAFT_EV_LOG_COMPACT);
    event.snapshot.index = newest.index;
    event.snapshot.term = newest.term;
    (void)raft_driver_step(d, &event);
    int status = log_store_trim(d->options.log, trim_index);
    if (status != 0)
        raft_driver_die(d, "log trim", status);
}

void raft_driver_transfer(struct raft_driver *d)
{
    struct raft_event event = raft_driver_event(RAFT_EV_TRANSFER);
    struct raft_status status;
    uint64_t best = 0;
    raft_status_get(d->raft, &status);
    for (unsigned i = 0; i < status.peer_count; i++) {
        if (status.peers[i].id != status.self && status.peers[i].match_index > best) {
            best = status.peers[i].match_index;
            event.peer = status.peers[i].id;
        }
    }
    if (event.peer != 0)
        (void)raft_driver_step(d, &event);
}

int raft_driver_transfer_to(struct raft_driver *d, uint32_t id)
{
    struct raft_event event = raft_driver_event(RAFT_EV_TRANSFER);
    event.peer = id;
    return raft_driver_step(d, &event);
}

void raft_driver_tell_peers(struct raft_driver *d, uint16_t code, struct slice body)
{
    struct rpc_call_options call = {.code = code, .body = body};
    for (unsigned i = 0; i < d->peer_count; i++)
        if (d->peers[i].rpc && rpc_peer_is_up(d->peers[i].rpc))
            (void)rpc_peer_send(d->peers[i].rpc, &call);
}
