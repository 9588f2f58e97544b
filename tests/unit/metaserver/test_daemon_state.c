/* R28: a leader says what its state is, and a metaserver whose state is another one stops. */
#include <stdio.h>

#include "metaserver/fs/fs.h"
#include "metaserver/log_store.h"
#include "metaserver/raft/raft.h"
#include "tests/unit/metaserver/daemon_fixture.h"

enum { WITHIN_MS = 30000, FLOOD = 100 };

static struct client_session one;

static void make_many(unsigned count)
{
    static struct answer answers[FLOOD];
    while (count > 0) {
        uint64_t lowest = one.sequence + 1;
        for (unsigned i = 0; i < FLOOD; i++) {
            struct bytes body = {0};
            char name[24];
            struct wire_caller caller = caller_of(&one, true);
            caller.lowest_unanswered = lowest;
            (void)snprintf(name, sizeof name, "f%llu", (unsigned long long)one.sequence);
            ENCODE(meta_mknod, &body, .caller = caller, .parent = ROOT_INODE,
                   .name = slice_str(name), .mode = 0100644);
            answers[i] = (struct answer){.is_done = false};
            ask_async(MSG_meta_mknod, &body, &answers[i]);
        }
        for (unsigned i = 0; i < FLOOD; i++) {
            wait_answer(&answers[i]);
            CU_ASSERT_EQUAL(answers[i].status, 0);
            bytes_release(&answers[i].body);
        }
        count -= count < FLOOD ? count : FLOOD;
    }
}

struct told {
    struct msg_state_hash newest;
    unsigned count;
};

static int look_for_hash(void *arg, const struct log_entry *entry)
{
    struct told *t = arg;
    struct fs_command command;
    if (entry->kind == RAFT_ENTRY_COMMAND && fs_command_decode(entry->data, &command) == 0 &&
        command.code == MSG_state_hash &&
        decode_state_hash(command.body, WIRE_VERSION, &t->newest) == 0)
        t->count++;
    return 0;
}

static struct log_store *open_log(struct log_range *ret_range)
{
    char folder[96];
    struct log_store_options options;
    struct log_store *log = NULL;
    struct err_text why = {""};
    alone_path("log", folder);
    log_store_options_defaults(&options);
    CU_ASSERT_EQUAL_FATAL(log_store_open(folder, daemons_cluster(), 1, &options, &log, NULL, &why),
                          0);
    log_store_range(log, ret_range);
    return log;
}

/* What a leader with another state would have written. */
static void append_hash(const struct msg_state_hash *m)
{
    struct bytes body = {0}, envelope = {0};
    struct log_range range;
    struct log_vote vote;
    struct log_store *log = open_log(&range);
    log_store_vote(log, &vote);
    encode_state_hash(&body, m);
    fs_command_encode(&(struct fs_command){.code = MSG_state_hash, .body = bytes_slice(&body)},
                      &envelope);
    struct log_entry entry = {.index = range.last_index + 1,
                              .term = vote.term,
                              .kind = RAFT_ENTRY_COMMAND,
                              .data = bytes_slice(&envelope)};
    CU_ASSERT_EQUAL(log_store_append(log, entry.index, &entry, 1), 0);
    CU_ASSERT_EQUAL(log_store_sync(log), 0);
    log_store_close(log);
    bytes_release(&body);
    bytes_release(&envelope);
}

/* The leader's log holds the hash of each interval; the same again does no harm, another one ends
 * the process with a word why. */
static void hashes_are_told_and_compared(void)
{
    struct told told = {.count = 0};
    struct log_range range;
    char path[96], command[160];
    alone_start();
    session_begin(&one);
    make_many(2 * FS_HASH_INTERVAL + 200);
    pause_ms(3000); /* thirty ticks */
    make_many(1);
    CU_ASSERT_EQUAL(alone_end(SIGTERM, WITHIN_MS), 0);
    struct log_store *log = open_log(&range);
    CU_ASSERT_EQUAL(
        log_store_read(log, range.first_index, range.last_index, 0, look_for_hash, &told), 0);
    log_store_close(log);
    CU_ASSERT_TRUE(told.count >= 1 && told.count <= 3);
    CU_ASSERT_EQUAL_FATAL(told.newest.index, 2 * FS_HASH_INTERVAL);

    append_hash(&told.newest);
    alone_start();
    make_many(1);
    CU_ASSERT_EQUAL(alone_end(SIGTERM, WITHIN_MS), 0);

    told.newest.hash ^= 1;
    append_hash(&told.newest);
    alone_start();
    CU_ASSERT_EQUAL(alone_end(0, WITHIN_MS / 3), 256 + SIGABRT);
    alone_path("", path);
    path[strlen(path) - 1] = '\0';
    (void)snprintf(command, sizeof command, "grep -q meta.diverged %s.log", path);
    CU_ASSERT_EQUAL(system(command), 0);
}

CU_TestInfo daemon_state_tests[] = {{"hashes_are_told_and_compared", hashes_are_told_and_compared},
                                    CU_TEST_INFO_NULL};
