/* Chunks that the leader calls dead: quarantined when that was said twice, and by the right one. */
#include <dirent.h>
#include <stdio.h>

#include "chunkserver/private.h"
#include "tests/unit/chunkserver/suites.h"
#include "common/base/banned.h"

enum { CHUNKS = 10, DEAD = 3, SHARD = 5 };

static struct chunk_id id_of(uint32_t i)
{
    return (struct chunk_id){900, i, 1};
}

static void begin(uint32_t doubt_ms)
{
    f.inventory_ms = 100;
    f.doubt_ms = doubt_ms;
    cluster_start(2, 2);
    for (uint32_t i = 0; i < CHUNKS; i++) {
        struct chunk_id id = id_of(i);
        CU_ASSERT_EQUAL(
            client_write(member_at(SHARD, 0), &id, SHARD, 0, "abc", 3, CHUNK_WRITE_CREATE), 0);
    }
}

static void say_dead(void)
{
    for (uint32_t i = 0; i < DEAD; i++)
        f.leader.dead[i] = id_of(2 * i);
    f.leader.dead_count = DEAD;
}

static uint64_t held_by(unsigned server)
{
    return store_shard_size(chunkserver_store(f.servers[server]), 2, SHARD).chunks;
}

static unsigned trash_count(unsigned server)
{
    char path[128];
    unsigned count = 0;
    (void)snprintf(path, sizeof path, "%s/c%u/trash", f.folder, server + 1);
    DIR *folder = opendir(path);
    for (struct dirent *d; folder && (d = readdir(folder));)
        count += d->d_name[0] != '.';
    if (folder)
        (void)closedir(folder);
    return count;
}

static unsigned wanted[2];
static bool both_have_asked(void)
{
    return f.leader.inventories[1] >= wanted[0] && f.leader.inventories[2] >= wanted[1];
}

static void ask_more(unsigned times)
{
    for (unsigned i = 0; i < 2; i++)
        wanted[i] = f.leader.inventories[i + 1] + times;
    CU_ASSERT_TRUE_FATAL(run_until(both_have_asked, 10000));
}

static bool the_dead_are_gone(void)
{
    return held_by(0) == CHUNKS - DEAD && held_by(1) == CHUNKS - DEAD;
}

/* D14: nothing goes at the first word; at one far enough behind it the dead go into the quarantine,
 * at every copy, and nothing else does. */
static void dead_twice_is_quarantined(void)
{
    begin(1500);
    ask_more(2);
    say_dead();
    uint64_t from_ms = loop_now_ms();
    ask_more(2);
    run_ms(100);
    if (loop_now_ms() - from_ms < 1500) /* on a slow machine it may be time */
        CU_ASSERT_TRUE(held_by(0) == CHUNKS && held_by(1) == CHUNKS);
    CU_ASSERT_TRUE(run_until(the_dead_are_gone, 20000));
    CU_ASSERT_TRUE(loop_now_ms() - from_ms >= 1500);
    ask_more(3);
    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(held_by(i), CHUNKS - DEAD);
        CU_ASSERT_EQUAL(trash_count(i), DEAD);
    }
    for (uint32_t i = 0; i < CHUNKS; i++) {
        struct chunk_id id = id_of(i);
        struct store_entry e;
        bool dead = i % 2 == 0 && i < 2 * DEAD;
        CU_ASSERT_EQUAL(store_stat(chunkserver_store(f.servers[0]), &id, &e),
                        dead ? -ERR_LOST_CHUNK : 0);
    }
}

/* What was called dead and is not any more begins anew. */
static void doubt_is_forgotten(void)
{
    begin(10000);
    for (unsigned i = 0; i < 4; i++) {
        say_dead();
        ask_more(1);
        f.leader.dead_count = 0;
        ask_more(3);
        run_ms(300);
    }
    CU_ASSERT_TRUE(held_by(0) == CHUNKS && held_by(1) == CHUNKS);
    CU_ASSERT_EQUAL(f.servers[0]->inventory.doubts.count, 0);
}

static unsigned away;
static bool away_is_out(void)
{
    const struct shard *s = shard_table_shard(&f.leader.table, 2, SHARD);
    unsigned out = 0;
    for (unsigned i = 0; i < 2; i++)
        out += s->slot[i].state == SLOT_OFFLINE;
    return out == 1 && f.servers[1 - away]->table.version == f.leader.table.version;
}

/* D4: not by a leader that is behind, and not while a copy of the shard is missing. */
static void only_when_all_is_well(void)
{
    begin(1);
    f.leader.inventory_term = f.leader.term - 1;
    say_dead();
    ask_more(4);
    CU_ASSERT_TRUE(held_by(0) == CHUNKS && held_by(1) == CHUNKS);
    away = 1;
    server_kill(away);
    CU_ASSERT_TRUE_FATAL(run_until(away_is_out, 10000));
    f.leader.inventory_term = 0;
    run_ms(1500);
    CU_ASSERT_EQUAL(held_by(0), CHUNKS);
    server_start(away);
    CU_ASSERT_TRUE(run_until(all_insync, 20000));
    CU_ASSERT_TRUE(run_until(the_dead_are_gone, 20000));
}

CU_TestInfo inventory_tests[] = {{"dead_twice_is_quarantined", dead_twice_is_quarantined},
                                 {"doubt_is_forgotten", doubt_is_forgotten},
                                 {"only_when_all_is_well", only_when_all_is_well},
                                 CU_TEST_INFO_NULL};
