/* A cluster of chunkservers in a state machine to test. */
#include "tests/unit/metaserver/fs/cluster.h"

struct machine m;

int enlist(uint32_t number, uint64_t incarnation)
{
    char name[16];
    CHECK(snprintf(name, sizeof name, "c%u", number) > 0);
    return APPLY(&m, target_register, .uuid = {{(uint8_t)number}}, .incarnation = incarnation,
                 .name = slice_str(name), .address = S("a:1"), .host = slice_str(name));
}

/* Six servers with a table of `copies` copies of 8 shards; 0: no table. */
void form(unsigned copies)
{
    machine_init_cluster(&m);
    for (uint32_t i = 1; i <= TARGETS; i++)
        CU_ASSERT_EQUAL(enlist(i, 1), 0);
    if (copies)
        CU_ASSERT_EQUAL(APPLY(&m, shards_form, .copies = (uint8_t)copies), 0);
}

int drain(uint32_t a, uint32_t b)
{
    struct rec_target_ref refs[] = {{a}, {b}};
    return APPLY(&m, job_start, .kind = JOB_DRAIN, .targets = {.count = b ? 2 : 1, .items = refs},
                 .by = S("alice"));
}

struct msg_job_start_r started(void)
{
    struct msg_job_start_r r = {0};
    CU_ASSERT_EQUAL(decode_job_start_r(m.result.body, WIRE_VERSION, &r), 0);
    return r;
}

const struct shard *shard_of(uint32_t shard)
{
    return shard_table_shard(fs_shard_table(m.fs), COPIES, shard);
}

struct chain_view chain_of(uint32_t shard)
{
    return shard_table_chain(fs_shard_table(m.fs), COPIES, shard);
}

int change(uint32_t shard, uint32_t from, uint32_t to)
{
    struct rec_slot_change c = {COPIES, shard, shard_of(shard)->epoch, from, to};
    return APPLY(&m, shard_change, {.count = 1, .items = &c});
}

int report_at(uint32_t shard, uint64_t epoch, uint32_t target, enum shard_report_kind kind,
              uint32_t reporter, uint64_t chunks)
{
    return APPLY(&m, shard_report, .copies = COPIES, .shard = shard, .epoch = epoch,
                 .target = target, .kind = (uint8_t)kind, .reporter = reporter, .chunks = chunks,
                 .bytes = chunks << 20);
}

/* By the source, for the present epoch. */
void synced(uint32_t shard, uint32_t target, uint64_t chunks)
{
    struct chain_view c = chain_of(shard);
    CU_ASSERT_EQUAL(
        report_at(shard, c.epoch, target, REPORT_SYNCED, c.member[c.insync_count - 1], chunks), 0);
}

void left(uint32_t shard, uint32_t target)
{
    CU_ASSERT_EQUAL(report_at(shard, shard_of(shard)->epoch, target, REPORT_LEFT, target, 0), 0);
}

int offline(uint32_t target)
{
    const struct target *t = shard_table_target(fs_shard_table(m.fs), target);
    struct rec_target_life life = {target, t->incarnation};
    return APPLY(&m, target_offline, {.count = 1, .items = &life});
}

/* Targets that have no slot of it. */
uint32_t stranger(uint32_t shard, unsigned number)
{
    enum slot_state unused;
    for (uint32_t id = 1; id <= TARGETS; id++)
        if (!shard_has_member(shard_of(shard), COPIES, id, &unused) && number-- == 0)
            return id;
    CU_FAIL_FATAL("everyone has it");
    return 0;
}
