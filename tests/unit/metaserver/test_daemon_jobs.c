/* Drains, maintenance and rates as tools and chunkservers see them: the leader's own answers, over
 * real rpc, with chunkservers that only say what real ones would. */
#include "tests/unit/metaserver/daemon_fixture.h"

#include <stdio.h>

#include "common/ring/shard_table.h"

enum { SHARDS = 8, SLOT_BYTES = 1000, SLOT_CHUNKS = 3, TARGETS = 3, WAIT_MS = 20000 };

struct server {
    const char *name;
    struct uuid uuid;
    uint32_t id;
    uint64_t incarnation, sent, background_rate;
};
static struct server servers[TARGETS] = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
static struct shard_table table;
static uint64_t scale = 1; /* of what heartbeats tell */

/* ---- what chunkservers do ---- */

static void enroll(struct server *s)
{
    struct bytes body = {0};
    struct msg_target_register_r r;
    struct answer *answer;
    uint64_t begun = loop_now_ms();
    const char *name = s->name;
    s->uuid = (struct uuid){{(uint8_t)name[0]}};
    s->incarnation = 1;
    do { /* a brand-new cluster is not there until its first entry is applied */
        pause_ms(20);
        body = (struct bytes){0};
        ENCODE(target_register, &body, .uuid = s->uuid, .incarnation = 1, .name = slice_str(name),
               .address = slice_str(name), .host = slice_str(name), .bytes_total = 100000);
        answer = ask_as_chunkserver(MSG_target_register, &body);
    } while ((answer->status == -ERR_UNAVAILABLE || answer->status == -ERR_BUSY) &&
             loop_now_ms() - begun < WAIT_MS);
    CU_ASSERT_EQUAL_FATAL(answer->status, 0);
    CU_ASSERT_EQUAL_FATAL(DECODE(target_register_r, answer, &r), 0);
    s->id = r.target;
}

static void learn_table(void)
{
    struct bytes body = {0};
    struct msg_shard_table_r r;
    if (table.shard_count == 0)
        shard_table_init(&table, SHARDS);
    ENCODE(shard_table, &body, .since = table.version);
    struct answer *answer = ask_as_chunkserver(MSG_shard_table, &body);
    CU_ASSERT_EQUAL_FATAL(answer->status, 0);
    CU_ASSERT_EQUAL_FATAL(DECODE(shard_table_r, answer, &r), 0);
    CU_ASSERT_EQUAL_FATAL(shard_table_update(&table, &r), 0);
}

static uint32_t slots_of(uint32_t target)
{
    uint32_t count = 0;
    enum slot_state state;
    for (uint32_t n = 0; table.shards[2] && n < SHARDS; n++)
        count += shard_has_member(&table.shards[2][n], 2, target, &state);
    return count;
}

static void beat(struct server *s)
{
    struct bytes body = {0};
    struct msg_heartbeat_r r;
    uint64_t slots = slots_of(s->id);
    ENCODE(heartbeat, &body, .target = s->id, .incarnation = s->incarnation,
           .bytes_total = 100000 * scale, .bytes_used = slots * SLOT_BYTES * scale,
           .chunk_count = slots * SLOT_CHUNKS + 7, .left_chunks = 7, .left_bytes = 77,
           .chunk_bytes = slots * SLOT_BYTES * scale, .resync_bytes = s->sent);
    struct answer *answer = ask_as_chunkserver(MSG_heartbeat, &body);
    if (answer->status != 0)
        return; /* a new leader */
    CU_ASSERT_EQUAL_FATAL(DECODE(heartbeat_r, answer, &r), 0);
    s->background_rate = r.background_rate;
    if (r.lease_ms == 0) /* on a slow machine it was silent for too long */
        enroll(s);
}

static void beat_all(void)
{
    learn_table();
    for (unsigned i = 0; i < TARGETS; i++)
        beat(&servers[i]);
}

static void report(uint32_t n, uint32_t target, enum shard_report_kind kind, uint32_t reporter)
{
    struct bytes body = {0};
    ENCODE(shard_report, &body, .copies = 2, .shard = n, .epoch = table.shards[2][n].epoch,
           .target = target, .kind = (uint8_t)kind, .reporter = reporter, .chunks = SLOT_CHUNKS,
           .bytes = SLOT_BYTES);
    (void)ask_as_chunkserver(MSG_shard_report, &body);
}

/* Ends what is under way in the table as it is known: at most `most` shards. */
static unsigned work(unsigned most)
{
    unsigned done = 0;
    for (uint32_t n = 0; table.shards[2] && n < SHARDS && done < most; n++) {
        struct chain_view chain = shard_table_chain(&table, 2, n);
        uint32_t source = chain.insync_count ? chain.member[chain.insync_count - 1] : 0;
        if (chain.leaving) {
            report(n, chain.leaving, REPORT_LEFT, chain.leaving);
        } else if (chain.member_count > chain.insync_count) {
            for (unsigned i = 0; i < TARGETS; i++)
                servers[i].sent += servers[i].id == source ? SLOT_BYTES : 0;
            report(n, chain.member[chain.insync_count], REPORT_SYNCED, source);
        } else {
            continue;
        }
        done++;
    }
    return done;
}

/* ---- what tools ask ---- */

static struct answer *ask_about(uint16_t code, const struct rec_target_ref *refs, unsigned count,
                                bool force)
{
    struct bytes body = {0};
    struct wire_list targets = {.count = count, .items = refs};
    if (code == MSG_job_plan)
        ENCODE(job_plan, &body, .kind = JOB_DRAIN, .targets = targets);
    else if (code == MSG_job_start)
        ENCODE(job_start, &body, .kind = JOB_DRAIN, .targets = targets, .force = force,
               .by = slice_str("alice"));
    else
        ENCODE(target_remove, &body, .targets = targets, .data_loss = force);
    return ask(code, &body);
}

static int set_job(uint32_t job, enum job_action action, uint64_t rate)
{
    struct bytes body = {0};
    ENCODE(job_set, &body, .job = job, .action = (uint8_t)action, .rate_max = rate);
    return ask(MSG_job_set, &body)->status;
}

struct listed {
    struct rec_job_info newest; /* its texts are those of the last answer */
    unsigned count;
    uint32_t blocked_slots, waits_for; /* of the newest */
    uint8_t reason;
};

static struct listed list_jobs(void)
{
    struct bytes body = {0};
    struct msg_job_list_r r;
    struct rec_job_blocked row;
    struct listed l = {.count = 0};
    struct answer *answer = ask(MSG_job_list, &body);
    CU_ASSERT_EQUAL_FATAL(answer->status, 0);
    CU_ASSERT_EQUAL_FATAL(DECODE(job_list_r, answer, &r), 0);
    struct slice jobs = r.jobs.raw, blocked = r.blocked.raw;
    l.count = r.jobs.count;
    if (!rec_job_info_next(&jobs, &l.newest))
        return l;
    while (rec_job_blocked_next(&blocked, &row))
        if (row.job == l.newest.job) {
            l.blocked_slots += row.slots;
            l.reason = row.reason;
            l.waits_for = row.target;
        }
    CU_ASSERT_EQUAL(l.newest.slots_blocked, l.blocked_slots);
    return l;
}

static struct rec_target_status target_now(uint32_t target)
{
    struct msg_status_r r;
    struct rec_target_status t = {.target = 0};
    CU_ASSERT_EQUAL_FATAL(status_get(&r), 0);
    struct slice cursor = r.targets.raw;
    while (rec_target_status_next(&cursor, &t))
        if (t.target == target)
            return t;
    CU_FAIL("no such target in the status");
    return t;
}

/* ---- the tests ---- */

/* What a drain would be, by the figures of the heartbeats; asking changes nothing. */
static void plan(void)
{
    struct msg_job_plan_r r;
    struct rec_job_check check;
    uint64_t begun = loop_now_ms();
    for (unsigned i = 0; i < TARGETS; i++)
        enroll(&servers[i]);
    while (slots_of(servers[0].id) == 0 && loop_now_ms() - begun < WAIT_MS)
        beat_all();
    beat_all();
    uint32_t slots = slots_of(servers[0].id);
    struct rec_target_ref one = {.target = servers[0].id};
    struct answer *answer = ask_about(MSG_job_plan, &one, 1, false);
    CU_ASSERT_EQUAL_FATAL(answer->status, 0);
    CU_ASSERT_EQUAL_FATAL(DECODE(job_plan_r, answer, &r), 0);
    CU_ASSERT_TRUE(slots > 0 && r.slots == slots);
    CU_ASSERT_EQUAL(r.bytes, slots * SLOT_BYTES);
    CU_ASSERT_EQUAL(r.chunks, slots * SLOT_CHUNKS);
    CU_ASSERT_EQUAL(r.is_good, 1);
    struct slice checks = r.checks.raw;
    unsigned seen = 0;
    while (rec_job_check_next(&checks, &check)) {
        seen |= 1u << check.check;
        if (check.check == JOB_CHECK_SPACE)
            CU_ASSERT_TRUE(check.need == r.bytes &&
                           check.have == 2 * 95000 - (2 * SHARDS - slots) * SLOT_BYTES);
        if (check.check == JOB_CHECK_SERVERS)
            CU_ASSERT_TRUE(check.need == 2 && check.have == 2);
    }
    CU_ASSERT_EQUAL(seen, 1u << JOB_CHECK_SPACE | 1u << JOB_CHECK_SERVERS | 1u << JOB_CHECK_COPIES |
                              1u << JOB_CHECK_FULLEST | 1u << JOB_CHECK_LAST_COPY);
    CU_ASSERT_EQUAL(target_now(one.target).admin, TARGET_ACTIVE);
    CU_ASSERT_EQUAL(list_jobs().count, 0);
    struct rec_target_status t = target_now(one.target);
    CU_ASSERT_TRUE(t.chunk_bytes == r.bytes && t.left_bytes == 77 && t.weight == 1000);
    one.target = 4711;
    CU_ASSERT_EQUAL(ask_about(MSG_job_plan, &one, 1, false)->status, -ERR_NO_ENTRY);
}

/* Refused with what is short, in words; forced it begins, says what blocks it, and is cancelled. */
static void refused_and_forced(void)
{
    struct rec_target_ref two[2] = {{.target = servers[1].id}, {.target = servers[0].id}};
    uint64_t begun = loop_now_ms();
    struct answer *answer = ask_about(MSG_job_start, two, 2, false);
    CU_ASSERT_EQUAL(answer->status, -ERR_REFUSED);
    CU_ASSERT_STRING_EQUAL(answer->detail,
                           "copies of new files need 2 servers and 1 would stay: add a server");
    CU_ASSERT_EQUAL(target_now(servers[0].id).admin, TARGET_ACTIVE);
    CU_ASSERT_EQUAL(ask_about(MSG_job_start, two, 2, true)->status, 0);
    struct listed l = list_jobs();
    CU_ASSERT_TRUE(l.count == 1 && l.newest.state == JOB_RUNNING);
    /* Slots that the third one has already, or that have nowhere to go. */
    while (l.blocked_slots == 0 && loop_now_ms() - begun < WAIT_MS) {
        beat_all();
        (void)work(SHARDS);
        pause_ms(50);
        l = list_jobs();
    }
    CU_ASSERT_EQUAL(l.reason, JOB_NO_TARGET);
    CU_ASSERT_EQUAL(target_now(servers[1].id).admin, TARGET_DRAINING);
    CU_ASSERT_EQUAL(set_job(l.newest.job, JOB_CANCEL, 0), 0);
    l = list_jobs();
    CU_ASSERT_TRUE(l.newest.state == JOB_CANCELLED && l.blocked_slots == 0 &&
                   l.newest.slots_left == 0);
    CU_ASSERT_EQUAL(target_now(servers[1].id).admin, TARGET_ACTIVE);
    beat_all();
}

/* The target with the fewest slots is no drain worth looking at. */
static struct server *fullest(void)
{
    struct server *most = &servers[0];
    learn_table();
    for (unsigned i = 1; i < TARGETS; i++)
        if (slots_of(servers[i].id) > slots_of(most->id))
            most = &servers[i];
    return most;
}

static struct server *drained;
static uint32_t job;

/* Two who start the same get one job. Paused nothing begins; what a client sees of it is the sum of
 * what was reported, and what is left. */
static void progress(void)
{
    struct msg_job_start_r started;
    drained = fullest();
    struct rec_target_ref one = {.target = drained->id};
    beat_all();
    uint32_t slots = slots_of(drained->id);
    struct answer *answer = ask_about(MSG_job_start, &one, 1, false);
    CU_ASSERT_EQUAL_FATAL(answer->status, 0);
    CU_ASSERT_EQUAL_FATAL(DECODE(job_start_r, answer, &started), 0);
    CU_ASSERT_EQUAL(started.is_new, 1);
    job = started.job;
    CU_ASSERT_EQUAL(set_job(job, JOB_PAUSE, 0), 0);
    answer = ask_about(MSG_job_start, &one, 1, false);
    CU_ASSERT_TRUE(DECODE(job_start_r, answer, &started) == 0 && started.job == job &&
                   !started.is_new);
    for (unsigned i = 0; i < 15; i++) { /* what began before the pause ends */
        beat_all();
        (void)work(SHARDS);
        pause_ms(20);
    }
    beat_all();
    CU_ASSERT_EQUAL(work(SHARDS), 0);
    struct listed l = list_jobs();
    CU_ASSERT_TRUE(l.newest.job == job && l.newest.state == JOB_PAUSED && l.blocked_slots == 0);
    CU_ASSERT_EQUAL(l.newest.slots_left, slots_of(drained->id));
    CU_ASSERT_EQUAL(l.newest.slots_done + l.newest.slots_left, slots);
    CU_ASSERT_EQUAL(l.newest.bytes_left, l.newest.slots_left * SLOT_BYTES);
    CU_ASSERT_EQUAL(l.newest.chunks_left, l.newest.slots_left * SLOT_CHUNKS);
    CU_ASSERT_EQUAL(l.newest.bytes_done, l.newest.slots_done * SLOT_BYTES);
    CU_ASSERT_TRUE(l.newest.targets.size == 4 && load_u32(l.newest.targets.data) == drained->id);
    CU_ASSERT_TRUE(slice_equal(l.newest.by, slice_str("alice")));
    CU_ASSERT_EQUAL(set_job(job, JOB_RATE, SLOT_BYTES / 20), 0); /* one at a time */
    CU_ASSERT_EQUAL(set_job(job, JOB_RESUME, 0), 0);
}

static bool is_backwards(const struct rec_job_info *before, const struct rec_job_info *after)
{
    return after->slots_done < before->slots_done || after->chunks_done < before->chunks_done ||
           after->bytes_done < before->bytes_done;
}

/* R4: whoever leads, what was done is never less than a client has seen; it ends by itself when
 * nothing is left, and only then may the target go (R9). */
static void never_backwards(void)
{
    struct rec_target_ref one = {.target = drained->id};
    struct listed before = list_jobs(), now = before;
    uint64_t begun = loop_now_ms(), rate = 0;
    bool is_changed = false;
    struct answer *answer = ask_about(MSG_target_remove, &one, 1, false);
    CU_ASSERT_EQUAL(answer->status, -ERR_REFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(answer->detail, "still holds copies of"));
    while (now.newest.state != JOB_DONE && loop_now_ms() - begun < 3 * WAIT_MS) {
        beat_all();
        (void)work(1);
        pause_ms(30);
        now = list_jobs();
        CU_ASSERT_FALSE(is_backwards(&before.newest, &now.newest));
        rate = now.newest.rate > rate ? now.newest.rate : rate;
        if (!is_changed && now.newest.slots_done > before.newest.slots_done) {
            daemons_change_leader();
            is_changed = true;
        }
        before = now;
    }
    CU_ASSERT_TRUE(is_changed);
    CU_ASSERT_TRUE(rate > 0); /* of what the sources said they sent */
    CU_ASSERT_EQUAL(now.newest.state, JOB_DONE);
    CU_ASSERT_TRUE(now.newest.slots_left == 0 && now.newest.bytes_left == 0 &&
                   now.newest.rate == 0);
    learn_table();
    CU_ASSERT_EQUAL(slots_of(drained->id), 0);
    CU_ASSERT_EQUAL(target_now(drained->id).admin, TARGET_DRAINING);
    CU_ASSERT_EQUAL(now.newest.bytes_done, now.newest.slots_done * SLOT_BYTES);
}

/* A maintenance ends by itself, counted by who leads. */
static void maintenance_ends(void)
{
    struct bytes body = {0};
    struct server *s = drained == &servers[0] ? &servers[1] : &servers[0];
    struct rec_target_ref one = {.target = s->id};
    uint64_t begun = loop_now_ms();
    ENCODE(target_admin, &body, .targets = {.count = 1, .items = &one}, .admin = TARGET_MAINTENANCE,
           .for_ms = 1500);
    CU_ASSERT_EQUAL(ask(MSG_target_admin, &body)->status, 0);
    struct rec_target_status t = target_now(s->id);
    CU_ASSERT_EQUAL(t.admin, TARGET_MAINTENANCE);
    CU_ASSERT_TRUE(t.admin_left_ms > 0 && t.admin_left_ms <= 1500);
    while (t.admin == TARGET_MAINTENANCE && loop_now_ms() - begun < WAIT_MS) {
        beat_all();
        pause_ms(50);
        t = target_now(s->id);
    }
    CU_ASSERT_EQUAL(t.admin, TARGET_ACTIVE);
    CU_ASSERT_EQUAL(t.admin_left_ms, 0);
    CU_ASSERT_TRUE(loop_now_ms() - begun >= 1500);
}

static int configure(const char *name, const char *value)
{
    struct bytes body = {0};
    ENCODE(config_set, &body, .name = slice_str(name), .value = slice_str(value));
    return ask(MSG_config_set, &body)->status;
}

static bool rate_becomes(const struct server *s, uint64_t rate)
{
    uint64_t begun = loop_now_ms();
    do {
        beat_all();
        pause_ms(20);
    } while (s->background_rate != rate && loop_now_ms() - begun < WAIT_MS);
    return s->background_rate == rate;
}

/* What a server may send is in the answers to its heartbeats, and follows a change (R10). */
static void background_rate(void)
{
    CU_ASSERT_TRUE(rate_becomes(&servers[0], 0));
    CU_ASSERT_EQUAL(configure("background_bandwidth", "1MiB"), 0);
    CU_ASSERT_TRUE(rate_becomes(&servers[0], 1 << 20));
    CU_ASSERT_EQUAL(configure("background_bandwidth", ""), 0);
    CU_ASSERT_TRUE(rate_becomes(&servers[0], 0));
    /* Back to what it was, and a drain whose rate its only source has alone. */
    struct bytes body = {0};
    struct rec_target_ref one = {.target = drained->id};
    uint64_t begun = loop_now_ms();
    uint32_t source = 0;
    ENCODE(target_admin, &body, .targets = {.count = 1, .items = &one}, .admin = TARGET_ACTIVE);
    CU_ASSERT_EQUAL(ask(MSG_target_admin, &body)->status, 0);
    beat_all();
    one.target = fullest()->id;
    body = (struct bytes){0};
    ENCODE(job_start, &body, .kind = JOB_DRAIN, .targets = {.count = 1, .items = &one},
           .rate_max = 90); /* one slot at a time */
    CU_ASSERT_EQUAL_FATAL(ask(MSG_job_start, &body)->status, 0);
    while (source == 0 && loop_now_ms() - begun < WAIT_MS) {
        beat_all();
        for (uint32_t n = 0; n < SHARDS; n++) {
            struct chain_view chain = shard_table_chain(&table, 2, n);
            if (chain.member_count > chain.insync_count)
                source = chain.member[chain.insync_count - 1];
        }
        pause_ms(20);
    }
    for (unsigned i = 0; i < TARGETS; i++)
        if (servers[i].id == source)
            CU_ASSERT_TRUE(rate_becomes(&servers[i], 90));
    CU_ASSERT_EQUAL(set_job(list_jobs().newest.job, JOB_CANCEL, 0), 0);
}

/* Large shards go so many at a time as the policy says now (D25). */
static void limits(void)
{
    uint32_t most = 0, slots;
    scale = 1 << 30;
    CU_ASSERT_EQUAL(configure("receptions_max", "1"), 0);
    CU_ASSERT_EQUAL(configure("sends_max", "16"), 0);
    for (unsigned i = 0; i < 10; i++) { /* what the last drain began is called off */
        beat_all();
        (void)work(SHARDS);
        pause_ms(20);
    }
    struct rec_target_ref one = {.target = fullest()->id};
    slots = slots_of(one.target);
    CU_ASSERT_TRUE(slots > TARGETS - 1);
    CU_ASSERT_EQUAL_FATAL(ask_about(MSG_job_start, &one, 1, false)->status, 0);
    for (unsigned i = 0; i < 20; i++) {
        beat_all();
        pause_ms(50);
        uint32_t moving = list_jobs().newest.slots_moving;
        most = moving > most ? moving : most;
    }
    CU_ASSERT_TRUE(most >= 1 && most <= TARGETS - 1); /* one each */
    CU_ASSERT_EQUAL(configure("receptions_max", "16"), 0);
    uint64_t begun = loop_now_ms();
    while (list_jobs().newest.slots_moving < slots && loop_now_ms() - begun < WAIT_MS) {
        beat_all();
        pause_ms(50);
    }
    CU_ASSERT_EQUAL(list_jobs().newest.slots_moving, slots);
}

/* R9: with its drain over a target may go, and asking again is no error; not before. */
static void removed(void)
{
    struct rec_target_ref one = {.target = load_u32(list_jobs().newest.targets.data)};
    uint64_t begun = loop_now_ms();
    CU_ASSERT_EQUAL(ask_about(MSG_target_remove, &one, 1, true)->status, -ERR_REFUSED); /* up */
    while (list_jobs().newest.state != JOB_DONE && loop_now_ms() - begun < WAIT_MS) {
        beat_all();
        (void)work(SHARDS);
        pause_ms(50);
    }
    CU_ASSERT_EQUAL(ask_about(MSG_target_remove, &one, 1, false)->status, 0);
    CU_ASSERT_EQUAL(ask_about(MSG_target_remove, &one, 1, false)->status, 0);
    CU_ASSERT_EQUAL(ask_about(MSG_job_plan, &one, 1, false)->status, -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(list_jobs().newest.state, JOB_DONE);
    shard_table_release(&table);
    table = (struct shard_table){0};
}

CU_TestInfo daemon_job_tests[] = {{"plan", plan},
                                  {"refused_and_forced", refused_and_forced},
                                  {"progress", progress},
                                  {"never_backwards", never_backwards},
                                  {"maintenance_ends", maintenance_ends},
                                  {"background_rate", background_rate},
                                  {"limits", limits},
                                  {"removed", removed},
                                  CU_TEST_INFO_NULL};
