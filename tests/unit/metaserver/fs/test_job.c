/* Jobs and policy: what begins, changes and ends them, each slot counted once, restarts. */
#include "metaserver/fs/state.h"
#include "tests/unit/metaserver/fs/cluster.h"

static void start(unsigned copies)
{
    machine_start(&m, kv_mem_create());
    form(copies);
}

static void stop(void)
{
    machine_check(&m);
    machine_stop(&m);
}

static enum target_admin admin_of(uint32_t target)
{
    return shard_table_target(fs_shard_table(m.fs), target)->admin;
}

/* It makes its targets DRAINING; the same one again is the same job; overlapping ones are not. */
static void a_drain_begins_once(void)
{
    start(0);
    CU_ASSERT_EQUAL(drain(2, 5), 0);
    CU_ASSERT_TRUE(started().job == 1 && started().is_new);
    CU_ASSERT_EQUAL(admin_of(2), TARGET_DRAINING);
    CU_ASSERT_EQUAL(admin_of(5), TARGET_DRAINING);
    CU_ASSERT_EQUAL(admin_of(1), TARGET_ACTIVE);
    CU_ASSERT_EQUAL(drain(5, 2), 0);
    CU_ASSERT_TRUE(started().job == 1 && !started().is_new);
    CU_ASSERT_EQUAL(drain(2, 0), -ERR_REFUSED);
    CU_ASSERT_EQUAL(drain(2, 3), -ERR_REFUSED);
    CU_ASSERT_EQUAL(admin_of(3), TARGET_ACTIVE);
    CU_ASSERT_EQUAL(drain(9, 0), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(drain(3, 3), 0);
    CU_ASSERT_EQUAL(started().job, 2);
    CU_ASSERT_EQUAL(fs_job(m.fs, 2)->target_count, 1);
    CU_ASSERT_STRING_EQUAL(fs_job(m.fs, 1)->by, "alice");
    stop();
}

/* ---- what is counted ---- */

static void expect_done(uint32_t slots, uint64_t chunks)
{
    const struct job *j = fs_job(m.fs, 1);
    CU_ASSERT_EQUAL(j->slots_done, slots);
    CU_ASSERT_EQUAL(j->chunks_done, chunks);
    CU_ASSERT_EQUAL(j->bytes_done, chunks << 20);
}

/* Drains the head of shard 0. */
static uint32_t start_draining(void)
{
    start(COPIES);
    uint32_t drained = chain_of(0).member[0];
    CU_ASSERT_EQUAL(drain(drained, 0), 0);
    return drained;
}

/* When it leaves, not before, with the sizes its source told; repeated and late reports count for
 * nothing (D14). */
static void a_slot_counts_once_when_it_leaves(void)
{
    uint32_t drained = start_draining(), to = stranger(0, 0);
    CU_ASSERT_EQUAL(change(0, drained, to), 0);
    uint64_t epoch = shard_of(0)->epoch;
    struct chain_view c = chain_of(0);
    synced(0, to, 7);
    expect_done(0, 0);
    CU_ASSERT_EQUAL(report_at(0, epoch, to, REPORT_SYNCED, c.member[c.insync_count - 1], 9), 0);
    expect_done(0, 0);
    uint64_t leaving = shard_of(0)->epoch;
    left(0, drained);
    expect_done(1, 7);
    CU_ASSERT_EQUAL(report_at(0, leaving, drained, REPORT_LEFT, drained, 5), 0);
    CU_ASSERT_EQUAL(report_at(0, shard_of(0)->epoch, drained, REPORT_LEFT, drained, 5), 0);
    CU_ASSERT_EQUAL(report_at(0, epoch, to, REPORT_SYNCED, c.member[c.insync_count - 1], 9), 0);
    offline(stranger(0, 1)); /* another command about this table */
    expect_done(1, 7);
    stop();
}

/* The receiver dies when it has everything: the slot stays and counts when it has really left, with
 * the sizes of the move that did it. */
static void a_move_that_failed_counts_for_nothing(void)
{
    uint32_t drained = start_draining(), to = stranger(0, 0), other = stranger(0, 1);
    change(0, drained, to);
    synced(0, to, 7);
    offline(to);
    CU_ASSERT_EQUAL(shard_of(0)->move.incoming, 0);
    expect_done(0, 0);
    change(0, drained, other);
    synced(0, other, 8);
    CU_ASSERT_EQUAL(enlist(other, 2), 0); /* a new process: it is filled anew */
    CU_ASSERT_EQUAL(shard_of(0)->move.chunks, 0);
    synced(0, other, 9);
    left(0, drained);
    expect_done(1, 9);
    stop();
}

/* It dies on its way out: its successor has everything, so that counts. */
static void one_that_dies_leaving_counts(void)
{
    uint32_t drained = start_draining(), to = stranger(0, 0);
    change(0, drained, to);
    synced(0, to, 3);
    offline(drained);
    expect_done(1, 3);
    CU_ASSERT_EQUAL(enlist(drained, 2), 0);
    expect_done(1, 3);
    stop();
}

/* It dies before: whoever replaces it must be in sync before the slot counts, however many try, and
 * before the job may end although nothing is held by the target any more (D18). */
static void a_replacement_counts_when_it_is_in_sync(void)
{
    uint32_t drained = start_draining(), to = stranger(0, 0), other = stranger(0, 1);
    uint32_t number[] = {drained};
    offline(drained);
    for (uint32_t shard = 0; shard < 8; shard++) {
        enum slot_state state;
        if (!shard_has_member(shard_of(shard), COPIES, drained, &state))
            continue;
        change(shard, drained, stranger(shard, 0));
        if (shard != 0)
            synced(shard, chain_of(shard).member[1], 10);
    }
    const struct job *j = fs_job(m.fs, 1);
    uint32_t others = j->slots_done;
    CU_ASSERT_EQUAL(j->chunks_done, others * 10u);
    CU_ASSERT_EQUAL(shard_of(0)->slot[0].instead_of, drained);
    CU_ASSERT_FALSE(shard_table_holds(fs_shard_table(m.fs), number, 1));
    CU_ASSERT_EQUAL(APPLY(&m, job_end, 1), -ERR_REFUSED);
    offline(to);
    change(0, to, other);
    CU_ASSERT_EQUAL(shard_of(0)->slot[0].instead_of, drained);
    CU_ASSERT_EQUAL(APPLY(&m, job_end, 1), -ERR_REFUSED);
    synced(0, other, 5);
    expect_done(others + 1, others * 10 + 5);
    CU_ASSERT_EQUAL(APPLY(&m, job_end, 1), 0);
    CU_ASSERT_EQUAL(fs_job(m.fs, 1)->state, JOB_DONE);
    CU_ASSERT_EQUAL(admin_of(drained), TARGET_DRAINING);
    stop();
}

/* A plan that was made before the drain does not fill its targets again (D18). */
static void a_drained_target_receives_nothing(void)
{
    start(COPIES);
    uint32_t from = chain_of(0).member[0], to = stranger(0, 0);
    CU_ASSERT_EQUAL(drain(to, 0), 0);
    uint64_t epoch = shard_of(0)->epoch;
    change(0, from, to);
    CU_ASSERT_EQUAL(shard_of(0)->epoch, epoch);
    offline(from);
    epoch = shard_of(0)->epoch;
    change(0, from, to);
    CU_ASSERT_EQUAL(shard_of(0)->epoch, epoch);
    stop();
}

/* ---- how jobs go on and end ---- */

static int set(uint32_t job, enum job_action action)
{
    return APPLY(&m, job_set, .job = job, .action = (uint8_t)action, .rate_max = 5);
}

/* Of a drain that was called off nothing counts any more; again it is another job. */
static void cancelled_and_begun_again(void)
{
    uint32_t drained = start_draining(), to = stranger(0, 0);
    change(0, drained, to);
    synced(0, to, 7);
    CU_ASSERT_EQUAL(set(1, JOB_CANCEL), 0);
    CU_ASSERT_EQUAL(set(1, JOB_CANCEL), 0); /* again: it is so already */
    CU_ASSERT_EQUAL(set(1, JOB_RESUME), -ERR_REFUSED);
    CU_ASSERT_EQUAL(admin_of(drained), TARGET_ACTIVE);
    CU_ASSERT_EQUAL(fs_job(m.fs, 1)->state, JOB_CANCELLED);
    CU_ASSERT_TRUE(fs_job(m.fs, 1)->ended_ns >= fs_job(m.fs, 1)->started_ns);
    CU_ASSERT_EQUAL(drain(drained, 0), 0);
    CU_ASSERT_TRUE(started().job == 2 && started().is_new);
    left(0, drained);
    expect_done(0, 0);
    CU_ASSERT_EQUAL(fs_job(m.fs, 2)->slots_done, 1);
    CU_ASSERT_EQUAL(fs_job(m.fs, 2)->chunks_done, 7);
    CU_ASSERT_EQUAL(APPLY(&m, job_end, 1), 0); /* it has ended, and not by this */
    CU_ASSERT_EQUAL(fs_job(m.fs, 1)->state, JOB_CANCELLED);
    stop();
}

static void paused_and_resumed(void)
{
    uint32_t drained = start_draining(), to = stranger(0, 0);
    CU_ASSERT_EQUAL(set(1, JOB_PAUSE), 0);
    CU_ASSERT_EQUAL(set(1, JOB_PAUSE), 0);
    CU_ASSERT_EQUAL(fs_job(m.fs, 1)->state, JOB_PAUSED);
    CU_ASSERT_EQUAL(admin_of(drained), TARGET_DRAINING);
    change(0, drained, to); /* was under way */
    synced(0, to, 1);
    left(0, drained);
    expect_done(1, 1);
    CU_ASSERT_EQUAL(drain(drained, 0), 0);
    CU_ASSERT_EQUAL(started().is_new, 0);
    CU_ASSERT_EQUAL(set(1, JOB_RESUME), 0);
    CU_ASSERT_EQUAL(set(1, JOB_RATE), 0);
    CU_ASSERT_EQUAL(fs_job(m.fs, 1)->rate_max, 5);
    CU_ASSERT_EQUAL(fs_job(m.fs, 1)->state, JOB_RUNNING);
    CU_ASSERT_EQUAL(set(1, (enum job_action)9), -ERR_INVALID);
    CU_ASSERT_EQUAL(set(7, JOB_PAUSE), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(APPLY(&m, job_end, 1), -ERR_REFUSED); /* other shards hold it (D18) */
    stop();
}

/* What a running job drains belongs to it. */
static void admin_leaves_jobs_alone(void)
{
    start(0);
    struct rec_target_ref refs[] = {{1}, {2}};
    CU_ASSERT_EQUAL(drain(2, 0), 0);
    CU_ASSERT_EQUAL(APPLY(&m, target_admin, {.count = 2, .items = refs}, TARGET_ACTIVE),
                    -ERR_REFUSED);
    CU_ASSERT_EQUAL(APPLY(&m, target_admin, {.count = 2, .items = refs}, TARGET_MAINTENANCE, 5),
                    -ERR_REFUSED);
    CU_ASSERT_EQUAL(admin_of(1), TARGET_ACTIVE); /* all or none */
    CU_ASSERT_EQUAL(APPLY(&m, target_admin, {.count = 2, .items = refs}, TARGET_DRAINING), 0);
    CU_ASSERT_EQUAL(APPLY(&m, job_end, 1), 0);
    CU_ASSERT_EQUAL(APPLY(&m, target_admin, {.count = 2, .items = refs}, TARGET_ACTIVE), 0);
    CU_ASSERT_EQUAL(admin_of(2), TARGET_ACTIVE);
    stop();
}

/* It may be away for so long, from the last command on; a new process does not end it. */
static void maintenance(void)
{
    start(0);
    struct rec_target_ref ref = {3};
    CU_ASSERT_EQUAL(APPLY(&m, target_admin, {.count = 1, .items = &ref}, TARGET_MAINTENANCE, 60000),
                    0);
    const struct target *t = shard_table_target(fs_shard_table(m.fs), 3);
    CU_ASSERT_TRUE(t->admin == TARGET_MAINTENANCE && t->maintenance_ms == 60000);
    CU_ASSERT_EQUAL(t->maintenance_version, m.index);
    CU_ASSERT_EQUAL(target_ring_weight(t), t->weight);
    uint64_t first = t->maintenance_version;
    CU_ASSERT_EQUAL(enlist(3, 2), 0);
    t = shard_table_target(fs_shard_table(m.fs), 3);
    CU_ASSERT_TRUE(t->admin == TARGET_MAINTENANCE && t->maintenance_version == first);
    machine_check(&m);
    CU_ASSERT_EQUAL(APPLY(&m, target_admin, {.count = 1, .items = &ref}, TARGET_MAINTENANCE, 0), 0);
    t = shard_table_target(fs_shard_table(m.fs), 3);
    CU_ASSERT_TRUE(t->maintenance_ms == 0 && t->maintenance_version == m.index);
    CU_ASSERT_EQUAL(drain(3, 0), 0);
    CU_ASSERT_EQUAL(shard_table_target(fs_shard_table(m.fs), 3)->maintenance_version, 0);
    stop();
}

/* Sixteen run, sixty-four are remembered, numbers are never used again. */
static void jobs_are_bounded(void)
{
    start(0);
    for (uint32_t i = TARGETS + 1; i <= JOBS_RUNNING_MAX + 2; i++)
        CU_ASSERT_EQUAL(enlist(i, 1), 0);
    for (uint32_t i = 1; i <= JOBS_RUNNING_MAX; i++)
        CU_ASSERT_EQUAL(drain(i, 0), 0);
    CU_ASSERT_EQUAL(drain(JOBS_RUNNING_MAX + 1, 0), -ERR_LIMIT);
    CU_ASSERT_EQUAL(admin_of(JOBS_RUNNING_MAX + 1), TARGET_ACTIVE);
    CU_ASSERT_EQUAL(APPLY(&m, job_end, JOBS_RUNNING_MAX), 0);
    for (uint32_t i = JOBS_RUNNING_MAX + 1; i <= 100; i++) {
        CU_ASSERT_EQUAL(drain(JOBS_RUNNING_MAX + 1, 0), 0);
        CU_ASSERT_EQUAL(started().job, i);
        CU_ASSERT_EQUAL(set(i, JOB_CANCEL), 0);
    }
    unsigned count;
    const struct job *jobs = fs_jobs(m.fs, &count);
    CU_ASSERT_EQUAL(count, JOBS_RUNNING_MAX - 1 + JOBS_ENDED_KEPT);
    CU_ASSERT_TRUE(jobs[0].number == 1 && job_is_running(&jobs[0]));
    CU_ASSERT_EQUAL(jobs[count - 1].number, 100);
    CU_ASSERT_PTR_NULL(fs_job(m.fs, JOBS_RUNNING_MAX));
    m.now_ns = 1; /* another leader, whose clock is wrong: those that ended last are still kept */
    for (uint32_t i = 1; i < JOBS_RUNNING_MAX; i++) {
        CU_ASSERT_EQUAL(set(i, JOB_CANCEL), 0);
        CU_ASSERT_PTR_NOT_NULL(fs_job(m.fs, i));
        CU_ASSERT_EQUAL(admin_of(i), TARGET_ACTIVE);
    }
    fs_jobs(m.fs, &count);
    CU_ASSERT_EQUAL(count, JOBS_ENDED_KEPT);
    machine_check(&m);
    CU_ASSERT_EQUAL(drain(1, 0), 0);
    CU_ASSERT_EQUAL(started().job, 101);
    stop();
}

/* R11: jobs, sizes of moves under way, owed slots, maintenance and policy outlive the process, and
 * a batch that is lost takes its changes back in memory, too. */
static void a_restart_keeps_everything(void)
{
    char folder[64];
    struct rec_target_ref ref;
    machine_start(&m, lmdb_in_new_folder(folder));
    form(COPIES);
    uint32_t drained = chain_of(0).member[0], to = stranger(0, 0), other = stranger(0, 1);
    ref.target = stranger(0, 2);
    CU_ASSERT_EQUAL(drain(drained, other), 0);
    change(0, drained, to);
    synced(0, to, 7);
    CU_ASSERT_EQUAL(APPLY(&m, target_admin, {.count = 1, .items = &ref}, TARGET_MAINTENANCE, 99),
                    0);
    CU_ASSERT_EQUAL(APPLY(&m, config_set, S("sends_max"), S("5")), 0);
    offline(other);
    machine_check(&m);
    uint64_t index = m.index, hash = m.fs->state.hash;
    CU_ASSERT_EQUAL(fs_begin_batch(m.fs), 0);
    bytes_clear(&m.body);
    encode_job_set(&m.body, &(struct msg_job_set){.job = 1, .action = JOB_CANCEL});
    struct fs_command c = {.code = MSG_job_set, .body = bytes_slice(&m.body)};
    bytes_clear(&m.envelope);
    fs_command_encode(&c, &m.envelope);
    CU_ASSERT_EQUAL(fs_apply(m.fs, index + 1, 1, bytes_slice(&m.envelope), &m.result), 0);
    CU_ASSERT_EQUAL(fs_job(m.fs, 1)->state, JOB_CANCELLED);
    fs_abort_batch(m.fs);
    CU_ASSERT_EQUAL(fs_job(m.fs, 1)->state, JOB_RUNNING);
    machine_check(&m);
    machine_stop(&m);
    struct kv *kv;
    CU_ASSERT_EQUAL_FATAL(kv_lmdb_open(folder, 64 << 20, &kv), 0);
    machine_start(&m, kv);
    machine_check(&m);
    CU_ASSERT_TRUE(m.index == index && m.fs->state.hash == hash);
    CU_ASSERT_EQUAL(fs_config(m.fs, CONFIG_sends_max), 5);
    CU_ASSERT_EQUAL(shard_table_target(fs_shard_table(m.fs), ref.target)->maintenance_ms, 99);
    CU_ASSERT_EQUAL(fs_job(m.fs, 1)->target_count, 2);
    left(0, drained);
    expect_done(1, 7);
    machine_check(&m);
    machine_stop(&m);
    remove_folder(folder);
}

/* ---- removal ---- */

static int expel(uint32_t target, bool data_loss)
{
    struct rec_target_ref ref = {target};
    return APPLY(&m, target_remove, {.count = 1, .items = &ref}, .data_loss = data_loss);
}

static bool is_there(uint32_t target)
{
    return shard_table_target(fs_shard_table(m.fs), target) != NULL;
}

/* An empty one goes. Its process may not come back, also when it sends again what it sent before;
 * its disk may, as another target with a new number (D4, D16). */
static void an_empty_target_is_removed(void)
{
    start(0);
    CU_ASSERT_EQUAL(drain(TARGETS, 0), 0);
    CU_ASSERT_EQUAL(expel(TARGETS, false), -ERR_REFUSED); /* its job has not ended */
    CU_ASSERT_EQUAL(APPLY(&m, job_end, 1), 0);
    CU_ASSERT_EQUAL(expel(TARGETS, false), 0);
    CU_ASSERT_FALSE(is_there(TARGETS));
    CU_ASSERT_EQUAL(expel(TARGETS, false), 0); /* again */
    CU_ASSERT_EQUAL(expel(TARGETS + 1, false), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(enlist(TARGETS, 1), -ERR_REFUSED);
    machine_check(&m);
    CU_ASSERT_EQUAL(enlist(TARGETS, 2), 0);
    CU_ASSERT_FALSE(is_there(TARGETS));
    CU_ASSERT_TRUE(is_there(TARGETS + 1));
    CU_ASSERT_EQUAL(admin_of(TARGETS + 1), TARGET_ACTIVE);
    CU_ASSERT_EQUAL(enlist(TARGETS, 2), 0); /* it is that one now */
    CU_ASSERT_FALSE(is_there(TARGETS + 2));
    stop();
}

/* R11: its number stays taken after a restart. */
static void a_removed_number_stays_taken(void)
{
    char folder[64];
    struct kv *kv;
    machine_start(&m, lmdb_in_new_folder(folder));
    form(0);
    CU_ASSERT_EQUAL(expel(TARGETS, false), 0);
    machine_stop(&m);
    CU_ASSERT_EQUAL_FATAL(kv_lmdb_open(folder, 64 << 20, &kv), 0);
    machine_start(&m, kv);
    CU_ASSERT_EQUAL(enlist(TARGETS, 1), -ERR_REFUSED);
    CU_ASSERT_EQUAL(enlist(TARGETS + 1, 1), 0);
    CU_ASSERT_FALSE(is_there(TARGETS));
    CU_ASSERT_TRUE(is_there(TARGETS + 1));
    machine_check(&m);
    machine_stop(&m);
    remove_folder(folder);
}

/* With what it holds only by an operator's word, and only while it is away. A job that drains it
 * goes on until its slots are in sync elsewhere (D18). */
static void a_lost_target_is_given_up(void)
{
    uint32_t gone = start_draining();
    struct rec_target_ref ref = {gone};
    CU_ASSERT_EQUAL(expel(gone, true), -ERR_REFUSED); /* it is up */
    offline(gone);
    CU_ASSERT_EQUAL(expel(gone, false), -ERR_REFUSED);
    CU_ASSERT_TRUE(is_there(gone));
    CU_ASSERT_EQUAL(expel(gone, true), 0);
    CU_ASSERT_EQUAL(shard_table_target(fs_shard_table(m.fs), gone)->state, TARGET_OUT);
    CU_ASSERT_EQUAL(expel(gone, true), 0); /* again */
    CU_ASSERT_EQUAL(enlist(gone, 1), -ERR_REFUSED);
    CU_ASSERT_EQUAL(APPLY(&m, target_admin, {.count = 1, .items = &ref}, TARGET_ACTIVE),
                    -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(APPLY(&m, target_failed, gone), 0);
    machine_check(&m);
    CU_ASSERT_EQUAL(enlist(gone, 2), 0); /* a new one, with nothing in sync */
    for (uint32_t shard = 0; shard < 8; shard++) {
        enum slot_state state;
        if (!shard_has_member(shard_of(shard), COPIES, gone, &state))
            continue;
        CU_ASSERT_EQUAL(APPLY(&m, job_end, 1), -ERR_REFUSED);
        change(shard, gone, stranger(shard, 0));
        CU_ASSERT_EQUAL(APPLY(&m, job_end, 1), -ERR_REFUSED);
        synced(shard, chain_of(shard).member[1], 1);
    }
    CU_ASSERT_FALSE(is_there(gone)); /* with its last slot */
    CU_ASSERT_EQUAL(APPLY(&m, job_end, 1), 0);
    CU_ASSERT_EQUAL(fs_job(m.fs, 1)->chunks_done, fs_job(m.fs, 1)->slots_done);
    CU_ASSERT_TRUE(fs_job(m.fs, 1)->slots_done > 0);
    stop();
}

static void policy_is_kept_and_bounded(void)
{
    start(0);
    CU_ASSERT_EQUAL(fs_config(m.fs, CONFIG_receptions_max), 2);
    CU_ASSERT_EQUAL(APPLY(&m, config_set, S("background_bandwidth"), S("150MiB")), 0);
    CU_ASSERT_EQUAL(fs_config(m.fs, CONFIG_background_bandwidth), 150u << 20);
    CU_ASSERT_EQUAL(APPLY(&m, config_set, S("receptions_max"), S("17")), -ERR_RANGE);
    CU_ASSERT_EQUAL(APPLY(&m, config_set, S("down_out"), S("soon")), -ERR_CONFIG);
    CU_ASSERT_EQUAL(APPLY(&m, config_set, S("downout"), S("1s")), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(APPLY(&m, config_set, S("background_bandwidth"), S("")), 0);
    CU_ASSERT_EQUAL(fs_config(m.fs, CONFIG_background_bandwidth), 0);
    stop();
}

#define TESTS(T)                               \
    T(an_empty_target_is_removed)              \
    T(a_removed_number_stays_taken)            \
    T(a_lost_target_is_given_up)               \
    T(a_drain_begins_once)                     \
    T(a_slot_counts_once_when_it_leaves)       \
    T(a_move_that_failed_counts_for_nothing)   \
    T(one_that_dies_leaving_counts)            \
    T(a_replacement_counts_when_it_is_in_sync) \
    T(a_drained_target_receives_nothing)       \
    T(cancelled_and_begun_again)               \
    T(paused_and_resumed)                      \
    T(admin_leaves_jobs_alone)                 \
    T(maintenance)                             \
    T(a_restart_keeps_everything)              \
    T(jobs_are_bounded)                        \
    T(policy_is_kept_and_bounded)

CU_TestInfo job_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
