/* Shard tables for tests. */
#include "tests/unit/common/ring/shard_fixture.h"

#include <stdio.h>

#include "common/base/check.h"
#include "common/ring/ring.h"

struct uuid fixture_uuid(uint32_t number)
{
    uint8_t digest[SHA1_SIZE];
    struct uuid u;
    checksum_sha1(&number, sizeof number, digest);
    memcpy(u.bytes, digest, sizeof u.bytes);
    return u;
}

int fixture_register(struct fixture *f, uint32_t number, uint64_t incarnation)
{
    char name[16], address[32];
    (void)snprintf(name, sizeof name, "c%u", number);
    (void)snprintf(address, sizeof address, "10.0.0.%u:7000", number);
    struct target_registration r = {
        .uuid = fixture_uuid(number),
        .incarnation = incarnation,
        .name = slice_str(name),
        .address = slice_str(address),
        .host = slice_str(name),
        .weight = RING_WEIGHT_MEAN,
    };
    uint32_t id = 0;
    int status = shard_table_register(&f->table, ++f->version, &r, &id);
    CHECK(status != 0 || id == number);
    return status;
}

void fixture_init(struct fixture *f, unsigned target_count, uint32_t shard_count, unsigned copies)
{
    *f = (struct fixture){0};
    shard_table_init(&f->table, shard_count);
    for (uint32_t i = 1; i <= target_count; i++)
        CHECK(fixture_register(f, i, 1) == 0);
    if (copies)
        CHECK(shard_table_form(&f->table, ++f->version, copies) == 0);
}

void fixture_release(struct fixture *f)
{
    shard_table_release(&f->table);
}

bool fixture_offline(struct fixture *f, uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t ids[3] = {a, b, c};
    uint64_t incarnations[3] = {0};
    for (int i = 0; i < 3; i++) {
        const struct target *target = shard_table_target(&f->table, ids[i]);
        incarnations[i] = target ? target->incarnation : 0;
    }
    return shard_table_offline(&f->table, ++f->version, ids, incarnations, 3);
}

bool fixture_report(struct fixture *f, unsigned copies, uint32_t shard, uint64_t epoch,
                    uint32_t target, enum shard_report_kind kind, uint32_t reporter)
{
    struct msg_shard_report report = {
        .copies = (uint8_t)copies,
        .shard = shard,
        .epoch = epoch,
        .target = target,
        .kind = (uint8_t)kind,
        .reporter = reporter,
    };
    return shard_table_report(&f->table, ++f->version, &report);
}

bool fixture_synced(struct fixture *f, unsigned copies, uint32_t shard, uint32_t target,
                    uint32_t reporter)
{
    return fixture_report(f, copies, shard, fixture_epoch(f, copies, shard), target, REPORT_SYNCED,
                          reporter);
}

bool fixture_out_of_sync(struct fixture *f, unsigned copies, uint32_t shard, uint32_t target,
                         uint32_t reporter)
{
    return fixture_report(f, copies, shard, fixture_epoch(f, copies, shard), target,
                          REPORT_OUT_OF_SYNC, reporter);
}

bool fixture_replace(struct fixture *f, unsigned copies, uint32_t shard, uint32_t old_target,
                     uint32_t new_target)
{
    return shard_table_replace(&f->table, ++f->version, copies, shard,
                               fixture_epoch(f, copies, shard), old_target, new_target);
}

bool fixture_left(struct fixture *f, unsigned copies, uint32_t shard, uint32_t target)
{
    return fixture_report(f, copies, shard, fixture_epoch(f, copies, shard), target, REPORT_LEFT,
                          target);
}

bool fixture_move(struct fixture *f, unsigned copies, uint32_t shard, uint32_t outgoing,
                  uint32_t incoming)
{
    return shard_table_move(&f->table, ++f->version, copies, shard, fixture_epoch(f, copies, shard),
                            outgoing, incoming);
}

bool fixture_move_cancel(struct fixture *f, unsigned copies, uint32_t shard)
{
    return shard_table_move_cancel(&f->table, ++f->version, copies, shard,
                                   fixture_epoch(f, copies, shard));
}

void fixture_drop_removed(struct fixture *f)
{
    for (unsigned i = f->table.target_count; i-- > 0;) {
        uint32_t id = f->table.targets[i].id;
        if (f->table.targets[i].state == TARGET_OUT && !shard_table_holds(&f->table, &id, 1))
            shard_table_drop(&f->table, id);
    }
}

int fixture_remove(struct fixture *f, uint32_t a, uint32_t b, bool data_loss)
{
    uint32_t ids[2] = {a, b};
    struct shard_removal r = {.targets = ids, .count = b ? 2 : 1, .data_loss = data_loss};
    int status = shard_table_check_removal(&f->table, &r);
    if (status == 0) {
        shard_table_remove(&f->table, ++f->version, &r);
        fixture_drop_removed(f);
    }
    return status;
}

uint64_t fixture_epoch(const struct fixture *f, unsigned copies, uint32_t shard)
{
    return shard_table_shard(&f->table, copies, shard)->epoch;
}

const char *fixture_slots(const struct fixture *f, unsigned copies, uint32_t shard)
{
    static char text[(COPIES_MAX + 1) * 24];
    const struct shard *s = shard_table_shard(&f->table, copies, shard);
    size_t used = 0;
    text[0] = 0;
    for (unsigned i = 0; i < copies; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%u%c", i ? " " : "",
                                 s->slot[i].target, "OSIL"[s->slot[i].state]);
    if (s->move.incoming)
        (void)snprintf(text + used, sizeof text - used, " +%u%c for %u", s->move.incoming,
                       "OSI"[s->move.state], s -> move.outgoing);
    else if (s->move.outgoing)
        (void)snprintf(text + used, sizeof text - used, " -%u", s->move.outgoing);
    return text;
}

void fixture_order(struct fixture *f, unsigned copies, uint32_t shard)
{
    struct shard s = *shard_table_shard(&f->table, copies, shard);
    for (unsigned i = 0; i < copies; i++)
        s.slot[i] = (struct slot){.target = i + 1, .state = SLOT_INSYNC};
    CHECK(shard_table_put_shard(&f->table, copies, shard, &s) == 0);
}

bool fixture_sound(const struct fixture *f)
{
    struct err_text why = {{0}};
    int status = shard_table_check(&f->table, &why);
    if (status != 0)
        printf("# %s\n", why.text);
    return status == 0;
}

static bool targets_equal(const struct target *a, const struct target *b)
{
    return a->id == b->id && memcmp(&a->uuid, &b->uuid, sizeof a->uuid) == 0 &&
           strcmp(a->name, b->name) == 0 && strcmp(a->address, b->address) == 0 &&
           strcmp(a->host, b->host) == 0 && a->state == b->state &&
           a->incarnation == b->incarnation && a->weight == b->weight;
}

bool fixture_equal(const struct shard_table *a, const struct shard_table *b)
{
    bool equal = a->version == b->version && a->shard_count == b->shard_count &&
                 a->target_count == b->target_count;
    for (unsigned i = 0; equal && i < a->target_count; i++)
        equal = targets_equal(&a->targets[i], &b->targets[i]);
    for (unsigned copies = 1; equal && copies <= COPIES_MAX; copies++) {
        equal = !a->shards[copies] == !b->shards[copies];
        for (uint32_t i = 0; equal && a->shards[copies] && i < a->shard_count; i++) {
            const struct shard *x = &a->shards[copies][i], *y = &b->shards[copies][i];
            equal = x->epoch == y->epoch && x->move.incoming == y->move.incoming &&
                    x->move.outgoing == y->move.outgoing && x->move.state == y->move.state;
            for (unsigned slot = 0; equal && slot < copies; slot++)
                equal = x->slot[slot].target == y->slot[slot].target &&
                        x->slot[slot].state == y->slot[slot].state;
        }
    }
    return equal;
}
