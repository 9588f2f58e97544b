/* Chunkservers as the leader sees them: registration, leases, going away, deleted chunks. */
#include "tests/unit/metaserver/daemon_fixture.h"

#include <stdio.h>

enum { SHARDS = 8, LEASE_MS = 1000 };

struct test_target {
    struct uuid uuid;
    uint32_t id;
    uint64_t incarnation, batch_done;
};
static struct test_target a, b;
static struct client_session user;

static int enroll(struct test_target *t, const char *name, uint64_t incarnation)
{
    struct bytes body = {0};
    struct msg_target_register_r r;
    t->uuid = (struct uuid){{(uint8_t)name[0]}};
    ENCODE(target_register, &body, .uuid = t->uuid, .incarnation = incarnation,
           .name = slice_str(name), .address = slice_str("127.0.0.1:1"), .host = slice_str(name),
           .bytes_total = 1000);
    struct answer *answer = ask_as_chunkserver(MSG_target_register, &body);
    if (answer->status == 0 && DECODE(target_register_r, answer, &r) == 0) {
        t->id = r.target;
        t->incarnation = incarnation;
    }
    return answer->status;
}

/* Returns the lease, or a negated err; `deletes` of the answer are counted. */
static int beat(struct test_target *t, uint64_t incarnation, bool is_deleting,
                unsigned *ret_deletes)
{
    struct bytes body = {0};
    struct msg_heartbeat_r r;
    ENCODE(heartbeat, &body, .target = t->id, .incarnation = incarnation, .bytes_total = 1000,
           .bytes_used = 100, .deleted_batch = t->batch_done);
    struct answer *answer = ask_as_chunkserver(MSG_heartbeat, &body);
    if (answer->status != 0)
        return answer->status;
    CU_ASSERT_EQUAL_FATAL(DECODE(heartbeat_r, answer, &r), 0);
    if (ret_deletes)
        *ret_deletes = r.deletes.count;
    if (is_deleting)
        t->batch_done = r.delete_batch;
    return (int)r.lease_ms;
}

/* Beats of both for so long; `with_b` false: only the first one. */
static void beat_for(unsigned ms, bool with_b, bool is_deleting)
{
    uint64_t end = loop_now_ms() + ms;
    while (loop_now_ms() < end) {
        (void)beat(&a, a.incarnation, is_deleting, NULL);
        if (with_b)
            (void)beat(&b, b.incarnation, is_deleting, NULL);
        pause_ms(100);
    }
}

static struct msg_status_r status_now(void)
{
    struct msg_status_r r = {.shards_full = 0};
    CU_ASSERT_EQUAL(status_get(&r), 0);
    return r;
}

/* Two targets form the shards; each beat is answered with a lease; statfs adds them up. */
static void leases(void)
{
    struct bytes body = {0};
    struct msg_meta_statfs_r space;
    session_begin(&user);
    CU_ASSERT_EQUAL_FATAL(enroll(&a, "a", 11), 0);
    CU_ASSERT_EQUAL_FATAL(enroll(&b, "b", 22), 0);
    CU_ASSERT_NOT_EQUAL(a.id, b.id);
    beat_for(1500, true, true);
    CU_ASSERT_EQUAL(beat(&a, 11, false, NULL), LEASE_MS);
    CU_ASSERT_EQUAL(beat(&a, 10, false, NULL), 0); /* an older process of the same target */
    CU_ASSERT_EQUAL(status_now().shards_full, SHARDS);
    struct answer *answer = ask(MSG_meta_statfs, &body);
    CU_ASSERT_EQUAL_FATAL(answer->status, 0);
    CU_ASSERT_EQUAL_FATAL(DECODE(meta_statfs_r, answer, &space), 0);
    CU_ASSERT_EQUAL(space.bytes_total, 1000);
    CU_ASSERT_EQUAL(space.bytes_free, 900);
}

/* Makes a file with `count` chunks and removes it. */
static void make_garbage(const char *name, uint32_t count)
{
    struct rec_chunk_slot slots[64];
    struct msg_meta_open_r opened;
    struct bytes body = {0};
    uint64_t inode = 0;
    CU_ASSERT_EQUAL_FATAL(session_alive(&user, true, NULL, 0, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(file_create(&user, name, &inode), 0);
    ENCODE(meta_open, &body, .caller = caller_of(&user, false), .inode = inode,
           .flags = OPEN_WRITE);
    struct answer *answer = ask(MSG_meta_open, &body);
    CU_ASSERT_EQUAL_FATAL(answer->status, 0);
    CU_ASSERT_EQUAL_FATAL(DECODE(meta_open_r, answer, &opened), 0);
    for (uint32_t i = 0; i < count; i++)
        slots[i] = (struct rec_chunk_slot){.index = i, .generation = opened.attr.chunk_generation};
    body = (struct bytes){0};
    ENCODE(meta_commit, &body, .caller = caller_of(&user, true), .inode = inode,
           .size_min = (uint64_t)count << 20, .mtime_ns = INT64_MIN,
           .added = {.count = count, .items = slots});
    CU_ASSERT_EQUAL_FATAL(ask(MSG_meta_commit, &body)->status, 0);
    CU_ASSERT_EQUAL(file_release(&user, inode), 0);
    CU_ASSERT_EQUAL(file_release(&user, inode), 0);
    CU_ASSERT_EQUAL_FATAL(file_unlink(&user, name), 0);
}

static bool garbage_is(uint64_t count)
{
    for (unsigned i = 0; i < 40; i++) {
        if (status_now().deletes_pending == count)
            return true;
        beat_for(50, true, false);
    }
    return false;
}

/* Deleted chunks go to every copy and are forgotten when each said that they are gone, also over
 * a change of leader in between. */
static void garbage(void)
{
    unsigned count = 0;
    make_garbage("chunks", 40);
    CU_ASSERT_TRUE(garbage_is(40));
    beat_for(300, true, false);
    CU_ASSERT_EQUAL(beat(&a, 11, true, &count), LEASE_MS);
    CU_ASSERT_EQUAL(count, 40);
    beat_for(500, false, true);
    CU_ASSERT_EQUAL(status_now().deletes_pending, 40); /* the other one has them still */
    daemons_change_leader();
    beat_for(500, true, false);
    CU_ASSERT_EQUAL(status_now().deletes_pending, 40);
    CU_ASSERT_EQUAL(beat(&a, 11, false, &count), LEASE_MS);
    CU_ASSERT_EQUAL(count, 40); /* the new leader does not know and asks again */
    beat_for(300, true, true);
    beat_for(300, true, true);
    CU_ASSERT_TRUE(garbage_is(0));
}

static int inventory(const struct test_target *t, uint64_t incarnation,
                     const struct rec_chunk_ref *chunks, uint32_t count,
                     struct rec_chunk_ref *ret_dead, uint32_t *ret_count)
{
    struct bytes body = {0};
    struct msg_inventory_check_r r;
    ENCODE(inventory_check, &body, .target = t->id, .incarnation = incarnation,
           .chunks = {.count = count, .items = chunks});
    struct answer *answer = ask_as_chunkserver(MSG_inventory_check, &body);
    if (answer->status != 0)
        return answer->status;
    CU_ASSERT_EQUAL_FATAL(DECODE(inventory_check_r, answer, &r), 0);
    CU_ASSERT_TRUE(r.term > 0 && r.index > 0);
    struct slice at = r.dead.raw;
    *ret_count = 0;
    while (rec_chunk_ref_next(&at, &ret_dead[*ret_count]))
        (*ret_count)++;
    return 0;
}

/* D14: a chunkserver is told which of its chunks are dead, in the order asked: not those of a file
 * that is being written; only a process that takes part may ask. */
static void inventory_names_the_dead(void)
{
    struct rec_chunk_ref dead[8];
    struct bytes body = {0};
    uint64_t inode = 0, gone = 0;
    uint32_t count = 99;
    CU_ASSERT_EQUAL_FATAL(session_alive(&user, true, NULL, 0, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(file_create(&user, "written", &inode), 0);
    CU_ASSERT_EQUAL_FATAL(file_create(&user, "gone", &gone), 0);
    struct rec_chunk_ref chunks[] = {{.id = {gone, 3, 1}, .copies = 2},
                                     {.id = {inode, 0, 1}, .copies = 2},
                                     {.id = {gone, 0, 1}, .copies = 2},
                                     {.id = {gone + 1000, 0, 1}, .copies = 2}};
    CU_ASSERT_EQUAL(inventory(&a, 11, chunks, 4, dead, &count), 0);
    CU_ASSERT_EQUAL(count, 0);
    CU_ASSERT_EQUAL(file_release(&user, gone), 0);
    CU_ASSERT_EQUAL_FATAL(file_unlink(&user, "gone"), 0);
    CU_ASSERT_EQUAL(inventory(&a, 11, chunks, 4, dead, &count), 0);
    CU_ASSERT_EQUAL(count, 2);
    CU_ASSERT_TRUE(count == 2 && chunk_id_equal(&dead[0].id, &chunks[0].id) &&
                   chunk_id_equal(&dead[1].id, &chunks[2].id));
    CU_ASSERT_EQUAL(inventory(&a, 10, chunks, 4, dead, &count), -ERR_REFUSED);
    struct test_target stranger = {.id = 4711};
    CU_ASSERT_EQUAL(inventory(&stranger, 11, chunks, 4, dead, &count), -ERR_REFUSED);
    ENCODE(inventory_check, &body, .target = a.id, .incarnation = 11,
           .chunks = {.count = 4, .items = chunks});
    CU_ASSERT_EQUAL(ask(MSG_inventory_check, &body)->status, -ERR_REFUSED);
    CU_ASSERT_EQUAL(file_release(&user, inode), 0);
}

/* A silent target is offline when its lease has run out, and not before; the other one goes on. */
static void silence(void)
{
    uint64_t begun = loop_now_ms();
    CU_ASSERT_EQUAL(beat(&b, 22, false, NULL), LEASE_MS);
    while (status_now().shards_under == 0 && loop_now_ms() - begun < 5000)
        beat_for(50, false, true);
    uint64_t took_ms = loop_now_ms() - begun;
    (void)printf("# offline after %u ms\n", (unsigned)took_ms);
    CU_ASSERT_TRUE(took_ms >= LEASE_MS && took_ms < LEASE_MS + 1500);
    CU_ASSERT_EQUAL(status_now().shards_under, SHARDS);
    CU_ASSERT_EQUAL(status_now().shards_unavailable, 0);
    CU_ASSERT_EQUAL(beat(&b, 22, false, NULL), 0);
    CU_ASSERT_EQUAL(beat(&a, 11, false, NULL), LEASE_MS);
}

/* D14: while a copy is being received nothing of the shard is handed out for deletion. */
static void garbage_waits_for_resync(void)
{
    unsigned count = 0;
    CU_ASSERT_EQUAL_FATAL(enroll(&b, "b", 23), 0);
    b.batch_done = 0;
    beat_for(1500, true, true);
    make_garbage("later", 40);
    beat_for(500, true, false);
    CU_ASSERT_EQUAL(beat(&a, 11, false, &count), LEASE_MS);
    /* Some shards may be received only later: of those the source deletes at once. */
    CU_ASSERT_TRUE(count < 40);
    CU_ASSERT_TRUE(status_now().deletes_pending >= 1);
}

/* A target that says goodbye is offline at once. */
static void goodbye(void)
{
    struct bytes body = {0};
    ENCODE(target_goodbye, &body, .target = b.id, .incarnation = 23);
    CU_ASSERT_EQUAL(ask_as_chunkserver(MSG_target_goodbye, &body)->status, 0);
    CU_ASSERT_EQUAL(beat(&b, 23, false, NULL), 0);
    CU_ASSERT_EQUAL(beat(&a, 11, false, NULL), LEASE_MS);
    CU_ASSERT_EQUAL(status_now().shards_under, SHARDS);
    beat_for(500, false, true);
    beat_for(500, false, true);
    beat_for(500, false, true);
    CU_ASSERT_EQUAL(status_now().deletes_pending, 0); /* it drops them when it comes back */
}

/* A new leader does not take a new process back before it knows who else is there: a lease's time,
 * or until all others were heard. */
static void new_leader_holds_registrations(void)
{
    CU_ASSERT_EQUAL_FATAL(enroll(&b, "b", 24), 0);
    beat_for(500, true, true);
    daemons_change_leader();
    CU_ASSERT_EQUAL(enroll(&a, "a", 12), -ERR_BUSY);
    CU_ASSERT_EQUAL(beat(&b, 24, false, NULL), LEASE_MS);
    CU_ASSERT_EQUAL(enroll(&a, "a", 12), 0);
    CU_ASSERT_EQUAL(beat(&a, 12, false, NULL), LEASE_MS);
    /* The power cut: both are new processes. None loses its place to the other one's ghost. */
    daemons_change_leader();
    uint64_t begun = loop_now_ms();
    int status = -ERR_BUSY;
    while (status == -ERR_BUSY && loop_now_ms() - begun < 8000) {
        pause_ms(20);
        status = enroll(&a, "a", 13);
    }
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_TRUE(loop_now_ms() - begun >= LEASE_MS);
    CU_ASSERT_EQUAL(beat(&a, 13, false, NULL), LEASE_MS);
    CU_ASSERT_EQUAL(status_now().shards_unavailable, 0);
}

/* Only a chunkserver may speak as one, only a metaserver as a metaserver. */
static void roles(void)
{
    struct bytes body = {0};
    ENCODE(target_goodbye, &body, .target = a.id, .incarnation = 13);
    CU_ASSERT_EQUAL(ask(MSG_target_goodbye, &body)->status, -ERR_REFUSED);
    body = (struct bytes){0};
    ENCODE(snapshot_fetch, &body, .node = 1, .length = 1);
    CU_ASSERT_EQUAL(ask(MSG_snapshot_fetch, &body)->status, -ERR_REFUSED);
    body = (struct bytes){0};
    ENCODE(session_expire, &body, .session = user.id);
    CU_ASSERT_EQUAL(ask(MSG_session_expire, &body)->status, -ERR_NOT_SUPPORTED);
}

CU_TestInfo daemon_target_tests[] = {
    {"leases", leases},
    {"garbage", garbage},
    {"inventory_names_the_dead", inventory_names_the_dead},
    {"silence", silence},
    {"garbage_waits_for_resync", garbage_waits_for_resync},
    {"goodbye", goodbye},
    {"new_leader_holds_registrations", new_leader_holds_registrations},
    {"roles", roles},
    CU_TEST_INFO_NULL};
