/* The majority is lost for good: one surviving folder becomes a cluster of its own.
 *
 * Appends to its log a configuration of itself alone. What it does not hold of what was
 * acknowledged is lost, and what it holds that never was becomes true. The others must never come
 * back with their old folders: they would be a second cluster of the same name. */
#include <stdio.h>

#include "common/base/check.h"
#include "metaserver/metaserver.h"

static int append_config(struct metaserver *m, uint64_t term, uint64_t *ret_index)
{
    struct raft_config alone = {0};
    uint8_t bytes[RAFT_CONFIG_BYTES_MAX];
    uint64_t last = m->recovery.last_index;
    int status = raft_config_add(&alone, (uint32_t)m->options.id, true, slice_str(m->address));
    /* It died between installing a checkpoint and moving the log behind it (R9). */
    if (status == 0 && last < m->checkpoint.index) {
        last = m->checkpoint.index;
        status = log_store_reset(m->log, last, m->checkpoint.term);
    }
    struct log_entry entry = {.index = last + 1,
                              .term = term,
                              .kind = RAFT_ENTRY_CONFIG,
                              .data = slice_of(bytes, raft_config_encode(&alone, bytes))};
    if (status == 0)
        status = log_store_append(m->log, entry.index, &entry, 1);
    *ret_index = entry.index;
    return status == 0 ? log_store_sync(m->log) : status;
}

int meta_force_new_cluster(struct metaserver *m, struct err_text *why)
{
    struct log_vote vote;
    uint64_t index = 0;
    if (!m->options.yes_i_may_lose_data)
        return err_set(
            ERR_REFUSED, why,
            "force_new_cluster makes a cluster of this folder alone. Changes that only the "
            "others hold are LOST, and they must never be started with their old folders "
            "again. Use it when most of them are gone for ever, with "
            "--yes-i-may-lose-data yes");
    if (m->standing.state == STANDING_NEW)
        return err_set(ERR_REFUSED, why, "%.180s holds no cluster", m->options.data);
    log_store_vote(m->log, &vote);
    /* In this order: a term that nobody used does no harm without the entry. */
    int status = log_store_set_vote(m->log, vote.term + 1, (uint32_t)m->options.id);
    if (status == 0)
        status = append_config(m, vote.term + 1, &index);
    m->standing.state = STANDING_MEMBER;
    if (status == 0)
        status = meta_store_standing(m);
    if (status != 0)
        return err_set((enum err) - status, why, "cannot write in %.160s: %s", m->options.data,
                       err_text(status));
    (void)printf(
        "m%llu is a cluster of its own from entry %llu on. Start it; then add others, with "
        "new numbers and empty folders: cairn meta add\n",
        (unsigned long long)m->options.id, (unsigned long long)index);
    return 0;
}
