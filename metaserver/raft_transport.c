/* Raft messages on the wire. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/wire/codec.h"
#include "metaserver/raft_driver_private.h"

static void encode_message(const struct raft_message *m, const char *address, struct bytes *out)
{
    struct rec_log_entry *entries = calloc(m->entry_count + 1, sizeof *entries);
    CHECK(entries != NULL);
    for (unsigned i = 0; i < m->entry_count; i++)
        entries[i] = (struct rec_log_entry){.term = m->entries[i].term,
                                            .kind = (uint8_t)m->entries[i].kind,
                                            .data = m->entries[i].payload};
    struct msg_raft_message wire = {
        .kind = (uint8_t)m->kind,
        .from = m->from,
        .to = m->to,
        .term = m->term,
        .log_index = m->log_index,
        .log_term = m->log_term,
        .commit_index = m->commit_index,
        .match_index = m->match_index,
        .prev_index = m->prev_index,
        .sequence = m->sequence,
        .round = m->round,
        .sent_ms = m->sent_ms,
        .rejected = m->rejected,
        .transfer = m->transfer,
        .entries = {.count = m->entry_count, .items = entries},
        .join = m->join,
        .address = slice_str(address),
    };
    encode_raft_message(out, &wire);
    free(entries);
}

void raft_driver_send(struct raft_driver *d, const struct raft_messages *messages)
{
    struct bytes body = {0};
    const char *own = raft_driver_peer_address(d, d->options.self);
    for (unsigned i = 0; i < messages->count; i++) {
        const struct raft_message *m = &messages->messages[i];
        struct rpc_peer *to = raft_peers_find(d, m->to);
        if (!to)
            continue;
        bytes_clear(&body);
        encode_message(m, own[0] ? own : d->options.address, &body);
        struct rpc_call_options call = {.code = MSG_raft_message, .body = bytes_slice(&body)};
        /* Not delivered is like lost on the way: raft sends again. */
        (void)rpc_peer_send(to, &call);
    }
    bytes_release(&body);
}

void raft_driver_release_entries(struct raft_entry *entries, unsigned count)
{
    for (unsigned i = 0; entries && i < count; i++)
        buf_unref(entries[i].buf);
    free(entries);
}

/* All payloads of a message share one block. */
static struct raft_entry *decode_entries(const struct msg_raft_message *wire)
{
    struct raft_entry *entries = calloc(wire->entries.count, sizeof *entries);
    struct buf *block = buf_create(wire->entries.raw.size);
    struct slice cursor = wire->entries.raw;
    struct rec_log_entry record;
    size_t used = 0;
    CHECK(entries != NULL);
    for (unsigned i = 0; rec_log_entry_next(&cursor, &record); i++) {
        entries[i] = (struct raft_entry){.term = record.term,
                                         .index = wire->log_index + 1 + i,
                                         .kind = (enum raft_entry_kind)record.kind};
        if (record.data.size == 0)
            continue;
        memcpy(block->data + used, record.data.data, record.data.size);
        entries[i].buf = buf_ref(block);
        entries[i].payload = slice_of(block->data + used, record.data.size);
        used += record.data.size;
    }
    buf_unref(block);
    return entries;
}

int raft_driver_decode(struct slice body, unsigned version, struct raft_message *ret_message,
                       struct raft_entry **ret_entries, struct slice *ret_address)
{
    struct msg_raft_message wire;
    int status = decode_raft_message(body, version, &wire);
    if (status != 0)
        return status;
    if (wire.log_index > UINT64_MAX - LIST_COUNT_MAX)
        return -ERR_PROTOCOL;
    struct raft_entry *entries = wire.entries.count ? decode_entries(&wire) : NULL;
    *ret_message = (struct raft_message){
        .kind = (enum raft_message_kind)wire.kind,
        .from = wire.from,
        .to = wire.to,
        .term = wire.term,
        .log_index = wire.log_index,
        .log_term = wire.log_term,
        .commit_index = wire.commit_index,
        .match_index = wire.match_index,
        .prev_index = wire.prev_index,
        .sequence = wire.sequence,
        .round = wire.round,
        .sent_ms = wire.sent_ms,
        .rejected = wire.rejected != 0,
        .transfer = wire.transfer != 0,
        .join = wire.join,
        .entries = entries,
        .entry_count = wire.entries.count,
    };
    *ret_entries = entries;
    *ret_address = wire.address;
    return 0;
}

void raft_driver_on_message(struct raft_driver *d, struct rpc_request *take_request)
{
    struct raft_event event = raft_driver_event(RAFT_EV_RECV);
    struct raft_message message;
    struct raft_entry *entries = NULL;
    struct slice address;
    int status =
        raft_driver_decode(take_request->body, take_request->version, &message, &entries, &address);
    if (status == 0 && message.from != take_request->remote->identity.node)
        status = -ERR_PROTOCOL; /* nobody speaks for another node */
    if (status == 0) {
        raft_peers_learn(d, message.from, address);
        event.recv = &message;
        status = raft_driver_step(d, &event);
        raft_driver_release_entries(entries, message.entry_count);
    }
    if (status == -ERR_PROTOCOL)
        log_warn("raft.bad_message", "from=%s", take_request->remote->address);
    rpc_request_drop(take_request);
}
