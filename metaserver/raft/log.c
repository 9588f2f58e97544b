/* Index and term of the entries in memory: a vector that is appended at one end and dropped at the
 * other. */
#include "metaserver/raft/raft_state.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/banned.h"

uint64_t raft_entry_cost(const struct raft_entry *entry)
{
    return entry->payload.size + sizeof *entry;
}

uint64_t raft_log_last_index(const struct raft_log *log)
{
    return log->base_index + log->count;
}

uint64_t raft_log_last_term(const struct raft_log *log)
{
    return log->count ? log->entries[log->head + log->count - 1].term : log->base_term;
}

const struct raft_entry *raft_log_at(const struct raft_log *log, uint64_t index)
{
    if (index <= log->base_index || index > raft_log_last_index(log))
        return NULL;
    return &log->entries[log->head + (size_t)(index - log->base_index - 1)];
}

bool raft_log_term_at(const struct raft_log *log, uint64_t index, uint64_t *ret_term)
{
    if (index == log->base_index) {
        *ret_term = log->base_term;
        return true;
    }
    const struct raft_entry *entry = raft_log_at(log, index);
    if (!entry)
        return false;
    *ret_term = entry->term;
    return true;
}

bool raft_log_matches(const struct raft_log *log, uint64_t index, uint64_t term)
{
    uint64_t have = 0;
    return raft_log_term_at(log, index, &have) && have == term;
}

/* Room for one more: first by moving down over dropped entries when they are at least half of the
 * vector (so each entry moves O(1) times), else by doubling. */
static void make_room(struct raft_log *log)
{
    if (log->head + log->count < log->capacity)
        return;
    if (log->head > 0 && log->head >= log->count) {
        memmove(log->entries, log->entries + log->head, log->count * sizeof *log->entries);
        log->head = 0;
        return;
    }
    size_t capacity = log->capacity ? log->capacity * 2 : 64;
    struct raft_entry *entries = malloc(capacity * sizeof *entries);
    CHECK(entries != NULL);
    if (log->count)
        memcpy(entries, log->entries + log->head, log->count * sizeof *entries);
    free(log->entries);
    log->entries = entries;
    log->head = 0;
    log->capacity = capacity;
}

void raft_log_append(struct raft_log *log, const struct raft_entry *entry)
{
    CHECK(entry->index == raft_log_last_index(log) + 1);
    CHECK(entry->term >= raft_log_last_term(log));
    make_room(log);
    log->entries[log->head + log->count] = *entry;
    if (entry->buf)
        (void)buf_ref(entry->buf);
    log->count++;
    log->bytes += raft_entry_cost(entry);
}

static void forget(struct raft_log *log, const struct raft_entry *entry)
{
    log->bytes -= raft_entry_cost(entry);
    buf_unref(entry->buf);
}

void raft_log_truncate(struct raft_log *log, uint64_t from)
{
    CHECK(from > log->base_index && from <= raft_log_last_index(log) + 1);
    while (raft_log_last_index(log) >= from) {
        forget(log, &log->entries[log->head + log->count - 1]);
        log->count--;
    }
    if (log->durable_index >= from)
        log->durable_index = from - 1;
}

void raft_log_drop_prefix(struct raft_log *log, uint64_t to)
{
    CHECK(to <= raft_log_last_index(log));
    while (log->base_index < to) {
        struct raft_entry *first = &log->entries[log->head];
        log->base_index = first->index;
        log->base_term = first->term;
        forget(log, first);
        log->head++;
        log->count--;
    }
    if (log->count == 0)
        log->head = 0;
}

void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term)
{
    for (size_t i = 0; i < log->count; i++)
        forget(log, &log->entries[log->head + i]);
    log->head = log->count = 0;
    log->base_index = log->durable_index = index;
    log->base_term = term;
    CHECK(log->bytes == 0);
}

void raft_log_release(struct raft_log *log)
{
    raft_log_reset(log, 0, 0);
    free(log->entries);
    log->entries = NULL;
    log->capacity = 0;
}

uint64_t raft_log_find_term(const struct raft_log *log, uint64_t limit, uint64_t term)
{
    uint64_t last = raft_log_last_index(log);
    uint64_t low = log->base_index, high = limit < last ? limit : last;
    while (low < high) { /* terms never fall: find the last one that is not above */
        uint64_t middle = low + (high - low + 1) / 2;
        const struct raft_entry *entry = raft_log_at(log, middle);
        CHECK(entry != NULL);
        if (entry->term <= term)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}
