/* The shard table as bytes: what servers send and what the database keeps. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/ring/shard_table.h"
#include "common/wire/prim.h"
#include "common/base/banned.h"

size_t shard_pack_slots(const struct shard *s, unsigned copies, uint8_t ret_bytes[SLOTS_PACKED_MAX])
{
    uint8_t *at = ret_bytes;
    for (unsigned i = 0; i < copies; i++, at += SLOT_PACKED_SIZE) {
        store_u32(at, s->slot[i].target);
        at[4] = (uint8_t)s->slot[i].state;
    }
    if (s->move.incoming == 0 && s->move.outgoing == 0)
        return (size_t)(at - ret_bytes);
    store_u32(at, s->move.incoming);
    store_u32(at + 4, s->move.outgoing);
    at[8] = (uint8_t)s->move.state;
    return (size_t)(at - ret_bytes) + MOVE_PACKED_SIZE;
}

int shard_unpack_slots(struct slice bytes, unsigned copies, struct shard *ret_shard)
{
    size_t slots_size = (size_t)copies * SLOT_PACKED_SIZE;
    if (copies < 1 || copies > COPIES_MAX ||
        (bytes.size != slots_size && bytes.size != slots_size + MOVE_PACKED_SIZE))
        return -ERR_PROTOCOL;
    struct shard s = *ret_shard;
    for (unsigned i = 0; i < copies; i++) {
        uint8_t state = bytes.data[i * SLOT_PACKED_SIZE + 4];
        if (state > SLOT_LEAVING)
            return -ERR_PROTOCOL;
        s.slot[i] = (struct slot){.target = load_u32(bytes.data + i * SLOT_PACKED_SIZE),
                                  .state = (enum slot_state)state};
    }
    s.move = (struct shard_move){0};
    if (bytes.size > slots_size) {
        const uint8_t *at = bytes.data + slots_size;
        if (at[8] > SLOT_INSYNC)
            return -ERR_PROTOCOL;
        s.move = (struct shard_move){.incoming = load_u32(at),
                                     .outgoing = load_u32(at + 4),
                                     .state = (enum slot_state)at[8]};
    }
    *ret_shard = s;
    return 0;
}

static size_t past_size(unsigned copies)
{
    return MOVE_SIZES_SIZE + (size_t)copies * SLOT_PAST_SIZE;
}

size_t shard_pack_row(const struct shard *s, unsigned copies, uint8_t ret_bytes[SHARD_ROW_MAX])
{
    size_t size = shard_pack_slots(s, copies, ret_bytes);
    uint8_t *at = ret_bytes + size;
    bool any = s->move.chunks || s->move.bytes;
    store_u64(at, s->move.chunks);
    store_u64(at + 8, s->move.bytes);
    at += MOVE_SIZES_SIZE;
    for (unsigned i = 0; i < copies; i++, at += SLOT_PAST_SIZE) {
        store_u32(at, s->slot[i].instead_of);
        store_u64(at + 4, s->slot[i].held_epoch);
        any = any || s->slot[i].instead_of || s->slot[i].held_epoch;
    }
    return any ? size + past_size(copies) : size;
}

/* The sizes with and without a move and a past all differ. */
int shard_unpack_row(struct slice bytes, unsigned copies, struct shard *ret_shard)
{
    size_t slots_size = (size_t)copies * SLOT_PACKED_SIZE, past = past_size(copies);
    bool has_past =
        bytes.size == slots_size + past || bytes.size == slots_size + MOVE_PACKED_SIZE + past;
    struct slice slots = slice_of(bytes.data, has_past ? bytes.size - past : bytes.size);
    struct shard s = *ret_shard;
    int status = shard_unpack_slots(slots, copies, &s);
    if (status)
        return status;
    const uint8_t *at = bytes.data + slots.size;
    if (has_past) {
        s.move.chunks = load_u64(at);
        s.move.bytes = load_u64(at + 8);
        at += MOVE_SIZES_SIZE;
    }
    for (unsigned i = 0; has_past && i < copies; i++, at += SLOT_PAST_SIZE) {
        s.slot[i].instead_of = load_u32(at);
        s.slot[i].held_epoch = load_u64(at + 4);
    }
    *ret_shard = s;
    return 0;
}

static struct slice text_slice(const char *text)
{
    return slice_str(text);
}

void shard_table_encode(const struct shard_table *t, uint64_t since, struct bytes *out)
{
    size_t shard_total = 0;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        shard_total += t->shards[copies] ? t->shard_count : 0;
    struct rec_target_info *targets = calloc(t->target_count + 1, sizeof *targets);
    struct rec_shard_slots *shards = calloc(shard_total + 1, sizeof *shards);
    uint8_t(*packed)[SLOTS_PACKED_MAX] = calloc(shard_total + 1, sizeof *packed);
    CHECK(targets != NULL && shards != NULL && packed != NULL);
    for (unsigned i = 0; i < t->target_count; i++) {
        const struct target *target = &t->targets[i];
        targets[i] = (struct rec_target_info){
            .target = target->id,
            .uuid = target->uuid,
            .name = text_slice(target->name),
            .address = text_slice(target->address),
            .host = text_slice(target->host),
            .state = (uint8_t)target->state,
            .incarnation = target->incarnation,
            .weight = target->weight,
            .admin = (uint8_t)target->admin,
        };
    }
    uint32_t count = 0;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++) {
        for (uint32_t i = 0; t->shards[copies] && i < t->shard_count; i++) {
            const struct shard *s = &t->shards[copies][i];
            if (s->epoch == 0 || s->changed_version <= since)
                continue;
            size_t size = shard_pack_slots(s, copies, packed[count]);
            shards[count] = (struct rec_shard_slots){
                .copies = (uint8_t)copies,
                .shard = i,
                .epoch = s->epoch,
                .slots = slice_of(packed[count], size),
            };
            count++;
        }
    }
    struct msg_shard_table_r m = {
        .version = t->version,
        .shard_count = t->shard_count,
        .targets = {.count = t->target_count, .items = targets},
        .shards = {.count = count, .items = shards},
    };
    encode_shard_table_r(out, &m);
    free(targets);
    free(shards);
    free(packed);
}

int shard_table_put_target(struct shard_table *t, const struct target *target)
{
    unsigned at = 0;
    while (at < t->target_count && t->targets[at].id < target->id)
        at++;
    if (at < t->target_count && t->targets[at].id == target->id) {
        t->targets[at] = *target;
        return 0;
    }
    if (t->target_count == TARGET_COUNT_MAX)
        return -ERR_LIMIT;
    if (t->target_count == t->target_capacity) {
        t->target_capacity = t->target_capacity ? t->target_capacity * 2 : 16;
        t->targets = realloc(t->targets, t->target_capacity * sizeof *t->targets);
        CHECK(t->targets != NULL);
    }
    memmove(&t->targets[at + 1], &t->targets[at], (t->target_count - at) * sizeof *t->targets);
    t->targets[at] = *target;
    t->target_count++;
    return 0;
}

int shard_table_put_shard(struct shard_table *t, unsigned copies, uint32_t shard,
                          const struct shard *s)
{
    if (copies < 1 || copies > COPIES_MAX || shard >= t->shard_count)
        return -ERR_PROTOCOL;
    if (!t->shards[copies]) {
        t->shards[copies] = calloc(t->shard_count, sizeof **t->shards);
        CHECK(t->shards[copies] != NULL);
    }
    t->shards[copies][shard] = *s;
    return 0;
}

static int take_text(char ret[TARGET_TEXT_MAX], struct slice text)
{
    if (text.size >= TARGET_TEXT_MAX || (text.size && memchr(text.data, 0, text.size)))
        return -ERR_PROTOCOL;
    memset(ret, 0, TARGET_TEXT_MAX);
    if (text.size)
        memcpy(ret, text.data, text.size);
    return 0;
}

static int take_target(struct shard_table *t, const struct rec_target_info *info)
{
    struct target target = {.id = info->target,
                            .uuid = info->uuid,
                            .incarnation = info->incarnation,
                            .weight = info->weight,
                            .admin = (enum target_admin)info->admin};
    if (info->target == 0 || info->admin > TARGET_MAINTENANCE || info->state < TARGET_UP ||
        info->state > TARGET_FAILED || take_text(target.name, info->name) != 0 ||
        take_text(target.address, info->address) != 0 || take_text(target.host, info->host) != 0)
        return -ERR_PROTOCOL;
    target.state = (enum target_state)info->state;
    return shard_table_put_target(t, &target);
}

static bool move_is_sane(const struct shard_table *t, const struct shard *s, unsigned copies,
                         unsigned leaving)
{
    bool has_slot = false;
    if (s->move.incoming == 0)
        return leaving == 0;
    for (unsigned i = 0; i < copies; i++) {
        if (s->slot[i].target == s->move.incoming)
            return false;
        has_slot = has_slot || s->slot[i].target == s->move.outgoing;
    }
    return has_slot && s->move.state != SLOT_OFFLINE &&
           leaving == (s->move.state == SLOT_INSYNC ? 1u : 0u) &&
           shard_table_target(t, s->move.incoming);
}

/* Nothing of an answer is taken over before all its rows were looked at. */
static int read_shard(const struct shard_table *t, const struct rec_shard_slots *row,
                      struct shard *ret_shard)
{
    unsigned in_sync = 0, leaving = 0;
    int status = shard_unpack_slots(row->slots, row->copies, ret_shard);
    if (status != 0 || row->epoch == 0 || row->shard >= t->shard_count)
        return -ERR_PROTOCOL;
    for (unsigned i = 0; i < row->copies; i++) {
        if (!shard_table_target(t, ret_shard->slot[i].target))
            return -ERR_PROTOCOL;
        for (unsigned j = 0; j < i; j++)
            if (ret_shard->slot[i].target == ret_shard->slot[j].target)
                return -ERR_PROTOCOL;
        in_sync += ret_shard->slot[i].state == SLOT_INSYNC;
        leaving += ret_shard->slot[i].state == SLOT_LEAVING;
    }
    return in_sync + leaving > 0 && move_is_sane(t, ret_shard, row->copies, leaving)
               ? 0
               : -ERR_PROTOCOL;
}

static int take_shard(struct shard_table *t, const struct rec_shard_slots *row, uint64_t version)
{
    struct shard s = {.epoch = row->epoch, .changed_version = version};
    const struct shard *old = shard_table_shard(t, row->copies, row->shard);
    int status = read_shard(t, row, &s);
    if (status != 0 || (old && old->epoch >= row->epoch))
        return status;
    return shard_table_put_shard(t, row->copies, row->shard, &s);
}

/* An empty copy of `t`, or of one with another shard_count, with the targets of the answer. */
static int read_targets(const struct shard_table *t, const struct msg_shard_table_r *m,
                        struct shard_table *ret_targets)
{
    struct slice cursor = m->targets.raw;
    struct rec_target_info info;
    int status = 0;
    shard_table_init(ret_targets, m->shard_count);
    for (unsigned i = 0; status == 0 && i < t->target_count; i++)
        status = shard_table_put_target(ret_targets, &t->targets[i]);
    while (status == 0 && rec_target_info_next(&cursor, &info))
        status = take_target(ret_targets, &info);
    return status;
}

/* An answer names all targets: what it does not name was removed, and no shard holds it. */
static void drop_removed(struct shard_table *t, const struct msg_shard_table_r *m)
{
    for (unsigned i = t->target_count; i-- > 0 && t->target_count > m->targets.count;) {
        struct slice cursor = m->targets.raw;
        struct rec_target_info info;
        bool is_named = false;
        while (!is_named && rec_target_info_next(&cursor, &info))
            is_named = info.target == t->targets[i].id;
        if (!is_named && !shard_table_holds(t, &t->targets[i].id, 1))
            shard_table_drop(t, t->targets[i].id);
    }
}

int shard_table_update(struct shard_table *t, const struct msg_shard_table_r *m)
{
    if (m->version < t->version)
        return 0;
    if (m->shard_count > SHARD_COUNT_MAX || (m->shard_count & (m->shard_count - 1)) != 0)
        return -ERR_PROTOCOL;
    struct shard_table next;
    struct slice cursor = m->shards.raw;
    struct rec_shard_slots row;
    struct shard unused = {0};
    int status = read_targets(t, m, &next);
    while (status == 0 && rec_shard_slots_next(&cursor, &row))
        status = read_shard(&next, &row, &unused);
    if (status != 0) {
        shard_table_release(&next);
        return status;
    }
    for (unsigned copies = 1; copies <= COPIES_MAX && t->shard_count == m->shard_count; copies++) {
        next.shards[copies] = t->shards[copies];
        t->shards[copies] = NULL;
    }
    shard_table_release(t);
    *t = next;
    cursor = m->shards.raw;
    while (status == 0 && rec_shard_slots_next(&cursor, &row))
        status = take_shard(t, &row, m->version);
    CHECK(status == 0);
    drop_removed(t, m);
    t->version = m->version;
    return 0;
}
