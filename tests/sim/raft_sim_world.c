/* The event queue and the network: packets are delayed, lost, doubled, replayed and cut off. */
#include "tests/sim/raft_sim.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

void world_push(struct sim *s, uint64_t at_us, enum event_kind kind, uint32_t who, uint32_t number)
{
    if (s->heap_count == s->heap_capacity) {
        s->heap_capacity = s->heap_capacity ? s->heap_capacity * 2 : 1024;
        s->heap = realloc(s->heap, s->heap_capacity * sizeof *s->heap);
        CHECK(s->heap != NULL);
    }
    struct sim_event e = {
        .at_us = at_us, .order = s->order++, .kind = kind, .who = who, .number = number};
    size_t at = s->heap_count++;
    for (; at > 0 && earlier(&e, &s->heap[(at - 1) / 2]); at = (at - 1) / 2)
        s->heap[at] = s->heap[(at - 1) / 2];
    s->heap[at] = e;
}

bool world_pop(struct sim *s, struct sim_event *ret_event)
{
    if (s->heap_count == 0)
        return false;
    *ret_event = s->heap[0];
    struct sim_event last = s->heap[--s->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= s->heap_count)
            break;
        if (child + 1 < s->heap_count && earlier(&s->heap[child + 1], &s->heap[child]))
            child++;
        if (!earlier(&s->heap[child], &last))
            break;
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = last;
    return true;
}

struct command command_of(struct sim *s, const struct raft_entry *entry)
{
    struct command c = {0};
    if (entry->kind == RAFT_ENTRY_CONFIG)
        c.sequence = member_number(s, entry->payload);
    else if (entry->payload.size == sizeof c)
        memcpy(&c, entry->payload.data, sizeof c);
    return c;
}

/* All commands that a run can need lie in one block, so an entry costs no allocation. */
void world_fill_commands(struct sim *s)
{
    s->commands = buf_create(sizeof(struct command) * (CLIENTS + 1) * LOG_MAX);
    struct command *all = (struct command *)(void *)s->commands->data;
    for (uint32_t client = 0; client <= CLIENTS; client++)
        for (uint32_t i = 0; i < LOG_MAX; i++)
            all[client * LOG_MAX + i] = (struct command){.client = client, .sequence = i};
}

struct raft_entry entry_of(struct sim *s, const struct entry_copy *copy)
{
    struct raft_entry e = {.term = copy->term, .index = copy->index, .kind = copy->kind};
    if (copy->kind == RAFT_ENTRY_CONFIG) {
        e.buf = s->configs[copy->command.sequence];
        e.payload = slice_of(e.buf->data, s->config_sizes[copy->command.sequence]);
    }
    if (copy->kind != RAFT_ENTRY_COMMAND)
        return e;
    const struct command *all = (const struct command *)(const void *)s->commands->data;
    CHECK(copy->command.client <= CLIENTS && copy->command.sequence < LOG_MAX);
    e.buf = s->commands;
    e.payload =
        slice_of(&all[copy->command.client * LOG_MAX + copy->command.sequence], sizeof *all);
    return e;
}

struct packet *world_packet(struct sim *s, uint32_t number)
{
    return &s->packets[number];
}

void world_free_packet(struct sim *s, uint32_t number)
{
    CHECK(s->packets[number].in_use);
    s->packets[number].in_use = false;
    s->free_packets[s->free_count++] = number;
}

uint64_t world_delay_us(struct sim *s)
{
    if (s->calm)
        return prng_between(&s->prng, 200, 3000);
    if (prng_chance(&s->prng, s->profile.long_delay))
        return prng_between(&s->prng, 1000, 5000000);
    return prng_between(&s->prng, 200, (uint64_t)s->profile.delay_ms_max * 1000);
}

/* The block of a configuration entry belongs to its sender's log; the packet may outlive that. */
static void copy_message(struct sim *s, struct packet *p, const struct raft_message *m)
{
    p->message = *m;
    p->message.entries = m->entry_count ? p->entries : NULL;
    for (unsigned i = 0; i < m->entry_count; i++) {
        const struct raft_entry *e = &m->entries[i];
        p->entries[i] = *e;
        if (e->kind != RAFT_ENTRY_CONFIG)
            continue;
        struct entry_copy copy = {
            .term = e->term, .index = e->index, .kind = e->kind, .command = command_of(s, e)};
        p->entries[i] = entry_of(s, &copy);
    }
}

static void dispatch(struct sim *s, const struct raft_message *m)
{
    if (s->free_count == 0)
        return;
    uint32_t number = s->free_packets[--s->free_count];
    struct packet *p = &s->packets[number];
    CHECK(!p->in_use && m->entry_count <= BATCH_MAX);
    p->in_use = true;
    copy_message(s, p, m);
    world_push(s, s->now_us + world_delay_us(s), EV_PACKET, m->to, number);
}

static void remember(struct sim *s, const struct raft_message *m)
{
    struct packet *p = &s->recent[s->recent_count++ % RECENT_MAX];
    copy_message(s, p, m);
}

void world_send(struct sim *s, const struct raft_message *m)
{
    if (s->profile.replay > 0 && !s->calm)
        remember(s, m);
    if (s->cut[m->from][m->to] || (!s->calm && prng_chance(&s->prng, s->profile.loss)))
        return;
    dispatch(s, m);
    if (!s->calm && prng_chance(&s->prng, s->profile.duplicate))
        dispatch(s, m);
}

void world_replay(struct sim *s)
{
    if (s->calm || s->recent_count == 0 || !prng_chance(&s->prng, s->profile.replay))
        return;
    uint64_t known = s->recent_count < RECENT_MAX ? s->recent_count : RECENT_MAX;
    struct packet *p = &s->recent[prng_below(&s->prng, known)];
    if (!s->cut[p->message.from][p->message.to])
        dispatch(s, &p->message);
}
