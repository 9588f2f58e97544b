/* Metaservers on disks and with clocks that misbehave, and leaders that lose their followers. */
#include <stdio.h>

#include "tests/unit/metaserver/daemon_fixture.h"

enum {
    TRIES = 3,         /* a slow machine may change the leader by itself */
    ELECTION_MS = 500, /* the option's value; a follower stands after twice this at most */
    LONG_MS = 30000,   /* nothing takes so long, on any machine */
};

static struct client_session one;

struct reign {
    unsigned leader;
    uint64_t term;
};

static struct reign reign_now(void)
{
    struct msg_status_r r = {.leader = 0};
    CU_ASSERT_EQUAL_FATAL(status_get(&r), 0);
    return (struct reign){r.leader - 1, r.term};
}

static bool is_still(struct reign before)
{
    struct reign now = reign_now();
    return now.leader == before.leader && now.term == before.term;
}

static int make_file(uint64_t sequence, const char *name, struct msg_meta_entry_r *ret)
{
    struct bytes body = {0};
    ENCODE(meta_mknod, &body,
           .caller = {.session = one.id,
                      .sequence = sequence,
                      .lowest_unanswered = sequence,
                      .groups = slice_of("", 0)},
           .parent = ROOT_INODE, .name = slice_str(name), .mode = 0100644);
    struct answer *a = ask(MSG_meta_mknod, &body);
    return a->status != 0 ? a->status : DECODE(meta_entry_r, a, ret);
}

static int make(const char *prefix, struct msg_meta_entry_r *ret)
{
    char name[32];
    uint64_t sequence = ++one.sequence;
    (void)snprintf(name, sizeof name, "%s%llu", prefix, (unsigned long long)sequence);
    return make_file(sequence, name, ret);
}

/* `lowest`: the first number whose answer is not known. */
static void make_async(const char *prefix, uint64_t lowest, struct answer *answer)
{
    struct bytes body = {0};
    char name[32];
    struct wire_caller caller = caller_of(&one, true);
    caller.lowest_unanswered = lowest;
    (void)snprintf(name, sizeof name, "%s%llu", prefix, (unsigned long long)one.sequence);
    ENCODE(meta_mknod, &body, .caller = caller, .parent = ROOT_INODE, .name = slice_str(name),
           .mode = 0100644);
    *answer = (struct answer){.is_done = false};
    ask_async(MSG_meta_mknod, &body, answer);
}

static void begin(void)
{
    struct msg_meta_entry_r entry;
    if (one.id == 0)
        session_begin(&one);
    CU_ASSERT_EQUAL(make("begin", &entry), 0);
}

/* ---- R24 ---- */

static bool becomes_set(const _Atomic uint32_t *flag)
{
    for (uint64_t end = loop_now_ms() + LONG_MS; loop_now_ms() < end; pause_ms(10))
        if (atomic_load(flag))
            return true;
    return false;
}

/* Whether the leader answered and stayed one while its checkpoint could not be written. */
static bool goes_on_during_checkpoint(void)
{
    static struct answer written;
    struct bytes body = {0};
    struct msg_meta_entry_r entry;
    struct reign before = reign_now();
    struct faults *faulty = daemons_faults(before.leader);
    bool is_done_early = false;
    atomic_store(&faulty->checkpoint_seen, 0);
    atomic_store(&faulty->checkpoint_held, 1);
    written = (struct answer){.is_done = false};
    ask_async(MSG_meta_checkpoint, &body, &written);
    CU_ASSERT_TRUE(becomes_set(&faulty->checkpoint_seen));
    uint64_t end = loop_now_ms() + 4 * ELECTION_MS;
    while (loop_now_ms() < end) {
        CU_ASSERT_EQUAL(make("during", &entry), 0);
        CU_ASSERT_EQUAL(file_stat(entry.attr.inode), 0);
        is_done_early |= written.is_done;
    }
    bool goes_on = is_still(before) && !is_done_early;
    atomic_store(&faulty->checkpoint_held, 0);
    wait_answer(&written);
    bytes_release(&written.body);
    return goes_on && written.status == 0;
}

/* R24: heartbeats and answers go on while a checkpoint is written, however long it takes. */
static void slow_checkpoint(void)
{
    bool goes_on = false;
    for (unsigned i = 0; i < TRIES && !goes_on; i++) {
        begin();
        goes_on = goes_on_during_checkpoint();
    }
    CU_ASSERT_TRUE(goes_on);
}

/* ---- R25 ---- */

static void shift_wall(unsigned which, int64_t hours)
{
    atomic_store(&daemons_faults(which)->wall_ns, hours * 3600 * 1000000000);
}

static void shift_walls(int64_t hours)
{
    for (unsigned i = 0; i < METAS; i++)
        shift_wall(i, hours);
}

/* All clocks jump on to `hours`, then the leader's alone back by one. */
static bool is_calm_over(int64_t hours)
{
    struct reign before = reign_now();
    shift_walls(hours);
    pause_ms(4 * ELECTION_MS);
    bool is_calm = is_still(before);
    shift_wall(before.leader, hours - 1);
    pause_ms(4 * ELECTION_MS);
    return is_calm && is_still(before);
}

/* R25: nobody stands, and no session ends, when wall clocks jump. */
static void wall_clock_moves_no_timeout(void)
{
    bool is_calm = false;
    begin();
    for (unsigned i = 0; i < TRIES && !is_calm; i++) {
        is_calm = is_calm_over(2 * (int64_t)i + 2); /* further each time: no jump is the same */
        CU_ASSERT_EQUAL(session_alive(&one, false, NULL, 0, NULL), 0);
    }
    CU_ASSERT_TRUE(is_calm);
    shift_walls(0);
}

static int change_mode(uint64_t inode, struct msg_meta_entry_r *ret)
{
    struct bytes body = {0};
    ENCODE(meta_setattr, &body, .caller = caller_of(&one, true), .inode = inode,
           .valid = SETATTR_MODE, .mode = 0600);
    struct answer *a = ask(MSG_meta_setattr, &body);
    return a->status != 0 ? a->status : DECODE(meta_entry_r, a, ret);
}

/* One leader's times, before and after its clock goes back by an hour. */
static bool times_ascend_in_one_reign(void)
{
    struct msg_meta_entry_r first = {.index = 0}, second = {.index = 0};
    shift_walls(0);
    struct reign before = reign_now();
    CU_ASSERT_EQUAL(make("early", &first), 0);
    shift_walls(-1);
    CU_ASSERT_EQUAL(make("late", &second), 0);
    if (!is_still(before))
        return false;
    CU_ASSERT_TRUE(second.attr.ctime_ns > first.attr.ctime_ns);
    CU_ASSERT_TRUE(second.attr.mtime_ns > first.attr.mtime_ns);
    return true;
}

/* R25: times of files do not go back with the leader's clock; those of one file not even when
 * another leads, who never saw the better clock. */
static void times_never_run_backwards(void)
{
    struct msg_meta_entry_r old = {.index = 0}, now = {.index = 0};
    bool was_one_reign = false;
    begin();
    for (unsigned i = 0; i < TRIES && !was_one_reign; i++)
        was_one_reign = times_ascend_in_one_reign();
    CU_ASSERT_TRUE(was_one_reign);
    shift_walls(0);
    daemons_change_leader(); /* has no memory of clocks that were ahead */
    CU_ASSERT_EQUAL(make("kept", &old), 0);
    shift_walls(-1);
    daemons_change_leader();
    CU_ASSERT_EQUAL(change_mode(old.attr.inode, &now), 0);
    CU_ASSERT_TRUE(now.attr.ctime_ns >= old.attr.ctime_ns);
    shift_walls(0);
}

/* ---- R23 ---- */

/* R23: what a leader had proposed when it lost its followers is open. It tells nobody that it
 * failed; asked again with the same number, it happened once. */
static void open_proposals_are_not_failed(void)
{
    enum { COUNT = 20 };
    static struct answer open[COUNT];
    struct msg_status_r before, after;
    begin();
    uint64_t lowest = one.sequence + 1;
    CU_ASSERT_EQUAL_FATAL(status_get(&before), 0);
    for (unsigned i = 0; i < METAS; i++)
        if (i != before.leader - 1)
            daemons_signal(i, SIGSTOP);
    for (unsigned i = 0; i < COUNT; i++)
        make_async("open", lowest, &open[i]);
    pause_ms(5 * ELECTION_MS); /* the leader makes room after twice this */
    for (unsigned i = 0; i < METAS; i++)
        if (i != before.leader - 1)
            daemons_signal(i, SIGCONT);
    for (unsigned i = 0; i < COUNT; i++) {
        wait_answer(&open[i]);
        CU_ASSERT_EQUAL(open[i].status, 0);
        bytes_release(&open[i].body);
    }
    CU_ASSERT_EQUAL_FATAL(status_get(&after), 0);
    CU_ASSERT_EQUAL(after.file_count, before.file_count + COUNT);
    CU_ASSERT_NOT_EQUAL(after.term, before.term); /* it did step down */
}

/* ---- R19, R20 ---- */

/* R19: a leader's first failed sync ends it at once, and it syncs nothing any more; the others go
 * on, and started again it is one of them. */
static void failed_sync_ends_it(void)
{
    static struct answer made;
    struct msg_meta_entry_r entry;
    begin();
    unsigned leader = daemons_leader();
    struct faults *faulty = daemons_faults(leader);
    atomic_store(&faulty->sync_errors, 1);
    make_async("failed", one.sequence + 1, &made);
    CU_ASSERT_EQUAL(daemons_end(leader, CALL_MS), 3);
    CU_ASSERT_EQUAL(atomic_load(&faulty->sync_count), 1);
    *faulty = (struct faults){0};
    wait_answer(&made);
    CU_ASSERT_EQUAL(made.status, 0);
    bytes_release(&made.body);
    CU_ASSERT_EQUAL(make("after", &entry), 0);
    daemons_kill(leader, SIGKILL); /* if it is there all the same */
    daemons_start(leader);
    (void)daemons_leader();
}

/* R20: a leader whose disk hangs makes room, though it could still send heartbeats. */
static void hung_disk_makes_room(void)
{
    static struct answer made;
    begin();
    struct reign before = reign_now();
    struct faults *faulty = daemons_faults(before.leader);
    atomic_store(&faulty->sync_held, 1);
    make_async("hung", one.sequence + 1, &made);
    wait_answer(&made);
    CU_ASSERT_EQUAL(made.status, 0);
    bytes_release(&made.body);
    CU_ASSERT_NOT_EQUAL(reign_now().leader, before.leader);
    atomic_store(&faulty->sync_held, 0);
    begin();
}

CU_TestInfo daemon_fault_tests[] = {
    {"slow_checkpoint", slow_checkpoint},
    {"wall_clock_moves_no_timeout", wall_clock_moves_no_timeout},
    {"times_never_run_backwards", times_never_run_backwards},
    {"open_proposals_are_not_failed", open_proposals_are_not_failed},
    {"failed_sync_ends_it", failed_sync_ends_it},
    {"hung_disk_makes_room", hung_disk_makes_room},
    CU_TEST_INFO_NULL};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {{"metaserver/faults", daemons_setup_with_faults, daemons_teardown,
                              NULL, NULL, daemon_fault_tests},
                             {"metaserver/state", daemons_setup_with_faults, daemons_teardown, NULL,
                              NULL, daemon_state_tests},
                             CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
