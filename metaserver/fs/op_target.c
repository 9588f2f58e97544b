/* Targets and shards: the commands that change the shard table, and its rows. */
#include "metaserver/fs/state.h"

#include "common/base/check.h"
#include "common/ring/ring.h"

#include "common/base/banned.h"

enum {
    SHARD_FIXED_SIZE = 16,
    ROW_REBALANCE = 0x80, /* beside enum target_admin, in one byte that is left out when it is 0 */
};

/* ---- rows ---- */

static void put_if_changed(struct fs *fs, struct row_key key, struct slice value)
{
    struct slice old;
    if (row_get(&fs->writer, key, &old) != 0 || !slice_equal(old, value))
        row_put(fs, key, value);
}

static void put_target(struct fs *fs, const struct target *t)
{
    struct bytes row = {0};
    put_uuid(&row, t->uuid);
    put_str(&row, slice_str(t->name));
    put_str(&row, slice_str(t->address));
    put_str(&row, slice_str(t->host));
    put_u8(&row, (uint8_t)t->state);
    put_u64(&row, t->incarnation);
    put_u32(&row, t->weight);
    uint8_t admin = (uint8_t)(t->admin | (t->rebalance ? ROW_REBALANCE : 0));
    if (admin != 0)
        put_u8(&row, admin);
    if (t->admin == TARGET_MAINTENANCE) {
        put_u64(&row, t->maintenance_ms);
        put_u64(&row, t->maintenance_version);
    }
    put_if_changed(fs, key_of_u64('T', t->id), bytes_slice(&row));
    bytes_release(&row);
}

static bool text_get(struct wire_in *in, char ret[TARGET_TEXT_MAX])
{
    struct slice text;
    if (!get_str(in, &text) || text.size >= TARGET_TEXT_MAX)
        return false;
    memcpy(ret, text.data, text.size);
    ret[text.size] = 0;
    return true;
}

int target_unpack(struct slice value, struct target *ret)
{
    struct wire_in in = {value.data, value.data + value.size, WIRE_VERSION};
    uint8_t state, admin = TARGET_ACTIVE;
    if (!get_uuid(&in, &ret->uuid) || !text_get(&in, ret->name) || !text_get(&in, ret->address) ||
        !text_get(&in, ret->host) || !get_u8(&in, &state) || !get_u64(&in, &ret->incarnation) ||
        !get_u32(&in, &ret->weight) || (in.at != in.end && !get_u8(&in, &admin)) ||
        (admin & ~ROW_REBALANCE) > TARGET_MAINTENANCE ||
        ((admin & ~ROW_REBALANCE) == TARGET_MAINTENANCE &&
         (!get_u64(&in, &ret->maintenance_ms) || !get_u64(&in, &ret->maintenance_version))) ||
        in.at != in.end || state < TARGET_UP || state > TARGET_FAILED)
        return -ERR_CORRUPT;
    ret->state = state;
    ret->rebalance = (admin & ROW_REBALANCE) != 0;
    ret->admin = admin & ~ROW_REBALANCE;
    return 0;
}

static void put_shard(struct fs *fs, unsigned copies, uint32_t number, const struct shard *s)
{
    uint8_t row[SHARD_FIXED_SIZE + SHARD_ROW_MAX];
    store_u64(row, s->epoch);
    store_u64(row + 8, s->changed_version);
    size_t size = SHARD_FIXED_SIZE + shard_pack_row(s, copies, row + SHARD_FIXED_SIZE);
    row_put(fs, key_of_shard(copies, number), slice_of(row, size));
}

void table_save(struct op *o)
{
    const struct shard_table *t = &o->fs->table;
    removed_drop(o->fs);
    for (unsigned i = 0; i < t->target_count; i++)
        put_target(o->fs, &t->targets[i]);
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t n = 0; t->shards[copies] && n < t->shard_count; n++)
            if (t->shards[copies][n].changed_version == o->index) {
                put_shard(o->fs, copies, n, &t->shards[copies][n]);
                jobs_count_left(o->fs, &t->shards[copies][n]);
            }
    o->fs->state.table_version = t->version;
    o->fs->state.target_next = t->target_next;
    o->fs->mirrors_touched = true;
    o->result->table_changed = true;
}

static int load_targets(struct shard_table *table, struct fs_view *v)
{
    struct slice key, value;
    struct row_key from = key_of_table('T');
    int status = row_seek(v, from, 1, &key, &value);
    for (; status == 0; status = row_next(v, from, 1, &key, &value)) {
        struct target t = {.id = (uint32_t)key_u64(key, 1)};
        status = target_unpack(value, &t);
        if (status == 0)
            status = shard_table_put_target(table, &t);
        if (status)
            return -ERR_CORRUPT;
    }
    return status == -ERR_NO_ENTRY ? 0 : status;
}

static int load_shards(struct shard_table *table, struct fs_view *v)
{
    struct slice key, value;
    struct row_key from = key_of_table('R');
    int status = row_seek(v, from, 1, &key, &value);
    for (; status == 0; status = row_next(v, from, 1, &key, &value)) {
        if (key.size != 6 || value.size < SHARD_FIXED_SIZE)
            return -ERR_CORRUPT;
        uint32_t number;
        memcpy(&number, key.data + 2, 4);
        struct shard s = {.epoch = load_u64(value.data),
                          .changed_version = load_u64(value.data + 8)};
        struct slice slots = slice_of(value.data + SHARD_FIXED_SIZE, value.size - SHARD_FIXED_SIZE);
        status = shard_unpack_row(slots, key.data[1], &s);
        if (status == 0)
            status = shard_table_put_shard(table, key.data[1], __builtin_bswap32(number), &s);
        if (status)
            return -ERR_CORRUPT;
    }
    return status == -ERR_NO_ENTRY ? 0 : status;
}

int table_load(struct shard_table *table, const struct fs_state *s, struct fs_view *v)
{
    shard_table_release(table);
    shard_table_init(table, s->shard_count ? s->shard_count : 1);
    int status = load_targets(table, v);
    if (status == 0)
        status = load_shards(table, v);
    table->version = s->table_version;
    table->target_next = s->target_next;
    return status;
}

/* ---- commands ---- */

static int table_done(struct op *o, bool changed)
{
    if (changed)
        table_save(o);
    return reply_done(o);
}

int op_target_register(struct op *o, const struct msg_target_register *m)
{
    if (o->fs->state.copies == 0)
        return -ERR_UNAVAILABLE;
    if (m->name.size >= TARGET_TEXT_MAX || m->address.size >= TARGET_TEXT_MAX ||
        m->host.size >= TARGET_TEXT_MAX)
        return -ERR_NAME_TOO_LONG;
    if (memchr(m->name.data, 0, m->name.size) || memchr(m->address.data, 0, m->address.size) ||
        memchr(m->host.data, 0, m->host.size))
        return -ERR_INVALID; /* the row could not be read back */
    int status = removed_check(o->view, &m->uuid, m->incarnation);
    if (status || o->check_only)
        return status;
    struct target_registration r = {.uuid = m->uuid,
                                    .incarnation = m->incarnation,
                                    .name = m->name,
                                    .address = m->address,
                                    .host = m->host,
                                    .weight = RING_WEIGHT_MEAN};
    uint64_t before = o->fs->table.version;
    uint32_t target;
    status = shard_table_register(&o->fs->table, o->index, &r, &target);
    if (status)
        return status;
    removed_forget(o->fs, &m->uuid);
    if (o->fs->table.version != before)
        table_save(o);
    struct msg_target_register_r reply = {
        .target = target, .term = o->fs->state.applied_term, .table_version = o->fs->table.version};
    encode_target_register_r(o->reply, &reply);
    return 0;
}

int op_target_goodbye(struct op *o, const struct msg_target_goodbye *m)
{
    if (o->check_only)
        return 0;
    return table_done(o,
                      shard_table_offline(&o->fs->table, o->index, &m->target, &m->incarnation, 1));
}

int op_target_offline(struct op *o, const struct msg_target_offline *m)
{
    static const unsigned count_max = TARGET_COUNT_MAX;
    uint32_t targets[TARGET_COUNT_MAX];
    uint64_t incarnations[TARGET_COUNT_MAX];
    struct rec_target_life life;
    struct slice cursor = m->targets.raw;
    unsigned count = 0;
    if (m->targets.count > count_max)
        return -ERR_INVALID;
    if (o->check_only)
        return 0;
    while (rec_target_life_next(&cursor, &life)) {
        targets[count] = life.target;
        incarnations[count++] = life.incarnation;
    }
    return table_done(o,
                      shard_table_offline(&o->fs->table, o->index, targets, incarnations, count));
}

int op_target_failed(struct op *o, const struct msg_target_failed *m)
{
    if (o->check_only)
        return 0;
    return table_done(o, shard_table_failed(&o->fs->table, o->index, m->target));
}

int op_shard_report(struct op *o, const struct msg_shard_report *m)
{
    if (o->check_only)
        return 0;
    return table_done(o, shard_table_report(&o->fs->table, o->index, m));
}

int op_shards_form(struct op *o, const struct msg_shards_form *m)
{
    if (m->copies < 1 || m->copies > COPIES_MAX || m->way > FORM_PLAN)
        return -ERR_INVALID;
    if (o->fs->state.copies == 0)
        return -ERR_UNAVAILABLE;
    if (o->check_only)
        return 0;
    int status = m->way == FORM_PLAN ? shard_table_form_by_plan(&o->fs->table, o->index, m->copies)
                                     : shard_table_form(&o->fs->table, o->index, m->copies);
    return status ? status : table_done(o, true);
}

int op_shard_change(struct op *o, const struct msg_shard_change *m)
{
    struct rec_slot_change c;
    struct slice cursor = m->changes.raw;
    bool changed = false;
    if (o->check_only)
        return 0;
    while (rec_slot_change_next(&cursor, &c))
        changed |= shard_table_change(&o->fs->table, o->index, &c);
    return table_done(o, changed);
}

int op_target_weights(struct op *o, const struct msg_target_weights *m)
{
    struct rec_target_weight w;
    struct slice cursor = m->targets.raw;
    bool changed = false;
    if (o->check_only)
        return 0;
    while (rec_target_weight_next(&cursor, &w))
        changed |=
            shard_table_set_weight(&o->fs->table, o->index, w.target, w.weight, w.rebalance != 0);
    return table_done(o, changed);
}

void admin_set(struct op *o, const uint32_t *targets, unsigned count, enum target_admin admin)
{
    uint64_t before = o->fs->table.version;
    for (unsigned i = 0; i < count; i++)
        CHECK(shard_table_set_admin(&o->fs->table, o->index, targets[i], admin) == 0);
    if (o->fs->table.version != before)
        table_save(o);
}

/* All of them or none. A target that a running job drains is that job's: cancel it. */
int op_target_admin(struct op *o, const struct msg_target_admin *m)
{
    struct rec_target_ref ref;
    struct slice cursor = m->targets.raw;
    struct shard_table *table = &o->fs->table;
    uint64_t before = table->version;
    if (m->admin > TARGET_MAINTENANCE)
        return -ERR_INVALID;
    while (rec_target_ref_next(&cursor, &ref)) {
        if (!target_known(o->fs, ref.target))
            return -ERR_NO_ENTRY;
        if (m->admin != TARGET_DRAINING && fs_job_draining(o->fs, ref.target))
            return -ERR_REFUSED;
    }
    if (o->check_only)
        return 0;
    cursor = m->targets.raw;
    while (rec_target_ref_next(&cursor, &ref)) {
        if (m->admin == TARGET_MAINTENANCE)
            CHECK(shard_table_set_maintenance(table, o->index, ref.target, m->for_ms) == 0);
        else
            CHECK(shard_table_set_admin(table, o->index, ref.target, m->admin) == 0);
    }
    return table_done(o, table->version != before);
}

int query_shard_table(struct query *q, const struct msg_shard_table *m)
{
    shard_table_encode(&q->fs->table, m->since, q->out);
    return 0;
}
