/* Random lives of drains against a model that only looks at the chains before and after each
 * command: what counts for a job, when it may end (D18), and that a state that is loaded anew goes
 * on as if nothing had happened (R11, R28). Reports come late, twice and from the wrong ones
 * (D14). */
#include "common/base/prng.h"
#include "metaserver/fs/state.h"
#include "tests/unit/metaserver/fs/cluster.h"

enum { STEPS = 2500, LIVES = 40, IDS_MAX = 64, JOBS_SEEN_MAX = 512, LATE_MAX = 8 };

struct late_report {
    uint32_t shard, target, reporter;
    uint64_t epoch;
    enum shard_report_kind kind;
};

static struct {
    struct prng random;
    struct shard before[SHARDS];
    uint64_t sizes[SHARDS];         /* told when the incoming target became in sync */
    uint32_t owed[SHARDS][IDS_MAX]; /* whose slot the target has without its data yet */
    uint32_t slots_done[JOBS_SEEN_MAX];
    uint64_t chunks_done[JOBS_SEEN_MAX];
    uint32_t running[IDS_MAX];         /* the job that drains it */
    uint64_t incarnation[TARGETS + 1]; /* by chunkserver */
    uint32_t id[TARGETS + 1];          /* its target; 0 = removed */
    uint32_t id_next;
    struct late_report late[LATE_MAX];
    unsigned late_count;
    unsigned done; /* over all lives: jobs that ended, slots that counted */
    unsigned counted;
} w;

static uint32_t any_id(void)
{
    return w.id[prng_between(&w.random, 1, TARGETS)];
}

static uint32_t any_shard(void)
{
    return (uint32_t)prng_below(&w.random, SHARDS);
}

/* ---- the model ---- */

static bool has(const struct shard *s, uint32_t target)
{
    return s->slot[0].target == target || s->slot[1].target == target;
}

static enum slot_state state_in(const struct shard *s, uint32_t target)
{
    return s->slot[s->slot[0].target == target ? 0 : 1].state;
}

static void count(uint32_t target, uint64_t chunks)
{
    uint32_t job = w.running[target];
    w.counted += job != 0;
    w.slots_done[job]++;
    w.chunks_done[job] += chunks;
}

/* What a command with these sizes did to one shard. */
static void look_at(uint32_t shard, uint64_t chunks)
{
    const struct shard *was = &w.before[shard], *is = shard_of(shard);
    if (was->epoch == is->epoch)
        return;
    uint32_t gone = 0, come = 0;
    for (unsigned i = 0; i < COPIES; i++) {
        if (!has(is, was->slot[i].target))
            gone = was->slot[i].target;
        if (!has(was, is->slot[i].target))
            come = is->slot[i].target;
    }
    uint32_t first = w.owed[shard][gone] ? w.owed[shard][gone] : gone;
    if (gone && was->move.incoming == come && state_in(is, come) == SLOT_INSYNC) {
        /* Its own slot, or one that lacked its copy when the incoming target had everything. */
        count(first, was->move.state == SLOT_INSYNC ? w.sizes[shard] : chunks);
        w.owed[shard][gone] = 0;
    } else if (gone) {
        w.owed[shard][come] = first == come ? 0 : first;
        w.owed[shard][gone] = 0;
    }
    if (is->move.state == SLOT_INSYNC && was->move.state == SLOT_SYNCING)
        w.sizes[shard] = chunks;
    for (unsigned i = 0; i < COPIES; i++) {
        uint32_t target = is->slot[i].target;
        if (w.owed[shard][target] && is->slot[i].state == SLOT_INSYNC && has(was, target) &&
            state_in(was, target) == SLOT_SYNCING) {
            count(w.owed[shard][target], chunks);
            w.owed[shard][target] = 0;
        }
    }
}

static void remember(void)
{
    for (uint32_t i = 0; i < SHARDS; i++)
        w.before[i] = *shard_of(i);
}

static void compare(uint64_t chunks)
{
    unsigned jobs;
    for (uint32_t i = 0; i < SHARDS; i++)
        look_at(i, chunks);
    const struct job *j = fs_jobs(m.fs, &jobs);
    for (; jobs-- > 0; j++) {
        CU_ASSERT_EQUAL_FATAL(j->slots_done, w.slots_done[j->number]);
        CU_ASSERT_EQUAL_FATAL(j->chunks_done, w.chunks_done[j->number]);
        CU_ASSERT_EQUAL_FATAL(j->bytes_done, j->chunks_done << 20);
    }
    remember();
}

static bool is_done(const struct job *j)
{
    for (uint32_t shard = 0; shard < SHARDS; shard++)
        for (unsigned i = 0; i < j->target_count; i++) {
            if (has(shard_of(shard), j->targets[i]) ||
                shard_of(shard)->move.incoming == j->targets[i])
                return false;
            for (unsigned target = 0; target < IDS_MAX; target++)
                if (w.owed[shard][target] == j->targets[i])
                    return false;
        }
    return true;
}

/* ---- steps ---- */

static void begin_a_drain(void)
{
    uint32_t a = any_id(), b = prng_chance(&w.random, 300) ? any_id() : 0;
    unsigned draining = 0;
    for (uint32_t id = 1; id < IDS_MAX; id++)
        draining += w.running[id] != 0;
    if (!a || draining > 2)
        return;
    bool is_free = !w.running[a] && (!b || !w.running[b]);
    int status = drain(a, b);
    CU_ASSERT_TRUE_FATAL(is_free == (status == 0 && started().is_new));
    if (!is_free)
        return;
    w.running[a] = started().job;
    w.running[b ? b : a] = started().job;
    CU_ASSERT_TRUE_FATAL(started().job < JOBS_SEEN_MAX);
}

static void end_a_drain(void)
{
    uint32_t number = w.running[prng_below(&w.random, IDS_MAX)];
    const struct job *j = number ? fs_job(m.fs, number) : NULL;
    if (!j)
        return;
    if (prng_chance(&w.random, 150)) {
        CU_ASSERT_EQUAL_FATAL(APPLY(&m, job_set, number, JOB_CANCEL), 0);
    } else {
        int expected = is_done(j) ? 0 : -ERR_REFUSED;
        CU_ASSERT_EQUAL_FATAL(APPLY(&m, job_end, number), expected);
        w.done += expected == 0;
        if (expected)
            return;
    }
    for (uint32_t id = 1; id < IDS_MAX; id++)
        if (w.running[id] == number)
            w.running[id] = 0;
}

static void send(const struct late_report *r, uint64_t chunks)
{
    (void)report_at(r->shard, r->epoch, r->target, r->kind, r->reporter, chunks);
}

static void report(uint64_t chunks)
{
    struct late_report r = {.shard = any_shard(), .kind = REPORT_SYNCED};
    struct chain_view c = chain_of(r.shard);
    r.epoch = c.epoch;
    r.reporter = c.member[c.insync_count - 1];
    r.target = c.member[c.member_count - 1];
    if (c.leaving && prng_chance(&w.random, 600)) {
        r.kind = REPORT_LEFT;
        r.reporter = r.target = c.leaving;
    } else if (prng_chance(&w.random, 100)) {
        r.kind = REPORT_OUT_OF_SYNC;
        r.reporter = c.member[0];
    }
    w.late[w.late_count++ % LATE_MAX] = r;
    if (prng_chance(&w.random, 200))
        r = w.late[prng_below(&w.random, w.late_count < LATE_MAX ? w.late_count : LATE_MAX)];
    send(&r, chunks);
}

static void move_a_slot(void)
{
    uint32_t shard = any_shard(), to = any_id();
    uint32_t from = shard_of(shard)->slot[prng_below(&w.random, COPIES)].target;
    for (uint32_t i = 0; i < SHARDS; i++) /* rather one that is to leave */
        for (unsigned slot = 0; slot < COPIES && !w.running[from]; slot++)
            if (w.running[shard_of(i)->slot[slot].target]) {
                shard = i;
                from = shard_of(i)->slot[slot].target;
            }
    if (to && to != from)
        change(shard, from, to);
}

/* At most one chunkserver is away at a time, so that no shard is without an in-sync copy. */
static void restart_one(void)
{
    uint32_t number = (uint32_t)prng_between(&w.random, 1, TARGETS);
    for (uint32_t i = 1; i <= TARGETS; i++)
        if (w.id[i] && shard_table_target(fs_shard_table(m.fs), w.id[i])->state != TARGET_UP)
            number = i;
    if (!w.id[number] && w.id_next == IDS_MAX)
        return;
    const struct target *t = shard_table_target(fs_shard_table(m.fs), w.id[number]);
    if (t && t->state == TARGET_UP && prng_chance(&w.random, 700)) {
        offline(w.id[number]);
        return;
    }
    CU_ASSERT_EQUAL_FATAL(enlist(number, ++w.incarnation[number]), 0);
    if (!w.id[number])
        w.id[number] = w.id_next++;
    CU_ASSERT_PTR_NOT_NULL_FATAL(shard_table_target(fs_shard_table(m.fs), w.id[number]));
}

/* Only what holds nothing, is owed nothing and is in no running job goes. */
static void remove_one(void)
{
    uint32_t number = (uint32_t)prng_between(&w.random, 1, TARGETS), id = w.id[number];
    struct rec_target_ref ref = {id};
    struct job alone = {.target_count = 1, .targets = {id}};
    if (!id)
        return;
    int expected = is_done(&alone) && !w.running[id] ? 0 : -ERR_REFUSED;
    CU_ASSERT_EQUAL_FATAL(APPLY(&m, target_remove, {.count = 1, .items = &ref}), expected);
    if (expected)
        return;
    CU_ASSERT_EQUAL_FATAL(enlist(number, w.incarnation[number]), -ERR_REFUSED);
    w.id[number] = 0;
}

static void load_anew(void)
{
    struct kv *copy = kv_mem_create();
    struct bytes stream = {0}, config = {0};
    struct fs_snapshot *s;
    struct fs_load *l;
    machine_check(&m);
    CHECK(fs_snapshot_begin(m.view, S(""), &s) == 0);
    while (fs_snapshot_next(s, 1 << 20, &stream) == 1)
        continue;
    fs_snapshot_end(s);
    CHECK(fs_load_begin(copy, &l) == 0 && fs_load_add(l, bytes_slice(&stream)) == 0 &&
          fs_load_end(l, &config) == 0);
    struct machine old = m;
    machine_start(&m, copy);
    m.now_ns = old.now_ns;
    machine_stop(&old);
    machine_check(&m);
    bytes_release(&stream);
    bytes_release(&config);
}

static void step(void)
{
    uint64_t chunks = prng_below(&w.random, 1000);
    switch (prng_below(&w.random, 20)) {
    case 0:
        begin_a_drain();
        break;
    case 1:
    case 2:
        end_a_drain();
        break;
    case 3:
        restart_one();
        break;
    case 4:
        remove_one();
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        move_a_slot();
        break;
    default:
        report(chunks);
    }
    compare(chunks);
}

static void live(uint64_t seed)
{
    unsigned done = w.done, counted = w.counted;
    memset(&w, 0, sizeof w);
    w.done = done;
    w.counted = counted;
    prng_init(&w.random, seed);
    machine_start(&m, kv_mem_create());
    form(COPIES);
    for (uint32_t i = 1; i <= TARGETS; i++) {
        w.id[i] = i;
        w.incarnation[i] = 1;
    }
    w.id_next = TARGETS + 1;
    remember();
    for (unsigned i = 0; i < STEPS; i++) {
        step();
        if (i % 300 == 299)
            load_anew();
    }
    machine_check(&m);
    machine_stop(&m);
}

static void drains_follow_the_model(void)
{
    const char *seed_text = getenv("SEED");
    uint64_t first = seed_text ? strtoull(seed_text, NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + (seed_text ? 1 : LIVES); seed++) {
        printf("# seed=%llu\n", (unsigned long long)seed);
        live(seed);
    }
    printf("# %u drains done, %u slots counted\n", w.done, w.counted);
    CU_ASSERT_TRUE(seed_text || (w.done > 100 && w.counted > 500));
}

CU_TestInfo drain_tests[] = {{"drains_follow_the_model", drains_follow_the_model},
                             CU_TEST_INFO_NULL};
