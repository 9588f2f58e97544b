/* Checkpoint files: round trips, damage, sending and receiving. */
#include "metaserver/checkpoint_private.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "tests/unit/metaserver/store_fixture.h"
#include "common/base/banned.h"

/* A stream that follows from its seed, half of it compressible. */
struct stream {
    struct prng prng;
    uint64_t size, at;
    bool right;
};

static struct stream stream_of(uint64_t seed, uint64_t size)
{
    struct stream s = {.size = size, .right = true};
    prng_init(&s.prng, seed);
    return s;
}

static void stream_next(struct stream *s, uint8_t piece[64])
{
    memset(piece, (int)(s->at >> 6 & 0xff), 64);
    for (size_t i = 0; i < 32; i += 8) {
        uint64_t word = prng_next(&s->prng);
        memcpy(piece + i, &word, 8);
    }
    s->at += 64;
}

static int produce(void *arg, struct checkpoint_writer *writer)
{
    struct stream *s = arg;
    uint8_t piece[64];
    while (s->at < s->size) {
        stream_next(s, piece);
        int result = checkpoint_put(writer, piece, sizeof piece);
        if (result != 0)
            return result;
    }
    return 0;
}

static int produce_badly(void *arg, struct checkpoint_writer *writer)
{
    (void)arg;
    CU_ASSERT_EQUAL(checkpoint_put(writer, "abc", 3), 0);
    return -ERR_CANCELLED;
}

static int consume(void *arg, struct slice piece)
{
    struct stream *s = arg;
    uint8_t want[64];
    for (size_t at = 0; at < piece.size; at += 64) {
        stream_next(s, want);
        s->right = s->right && piece.size - at >= 64 && memcmp(piece.data + at, want, 64) == 0;
    }
    return 0;
}

static struct checkpoint_store *open_store(const char *name)
{
    char folder[300];
    struct checkpoint_store *store = NULL;
    (void)snprintf(folder, sizeof folder, "%s/%s", fixture_folder, name);
    CHECK(checkpoint_store_open(folder, &fixture_cluster, FIXTURE_NODE, &store, NULL) == 0);
    return store;
}

static int write_one(struct checkpoint_store *store, uint64_t index, uint64_t size)
{
    struct stream s = stream_of(index, size);
    struct err_text why = {""};
    int result = checkpoint_store_write(store, (struct checkpoint_id){index, 2}, produce, &s, &why);
    CU_ASSERT(result == 0 || why.text[0] != '\0');
    return result;
}

static bool loads(struct checkpoint_store *store, uint64_t index, uint64_t size)
{
    struct stream s = stream_of(index, size);
    struct err_text why;
    return checkpoint_store_load(store, (struct checkpoint_id){index, 2}, consume, &s, &why) == 0 &&
           s.right && s.at == size;
}

/* What was put is what comes back, from nothing to several blocks; two are kept; a failed producer
 * leaves nothing; left-over temporary files go at open. */
static void round_trips(void)
{
    static const uint64_t sizes[] = {0, 64, CHECKPOINT_BLOCK_SIZE, CHECKPOINT_BLOCK_SIZE + 64,
                                     5 << 20};
    struct checkpoint_store *store = open_store("c");
    struct checkpoint_info infos[CHECKPOINT_LIST_MAX];
    for (uint64_t i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(write_one(store, 10 + i, sizes[i]), 0);
        CU_ASSERT(loads(store, 10 + i, sizes[i]));
        CU_ASSERT_EQUAL(checkpoint_store_list(store, infos), i == 0 ? 1 : 2);
        CU_ASSERT_EQUAL(infos[0].id.index, 10 + i);
    }
    CU_ASSERT_EQUAL(write_one(store, 14, 64), -ERR_EXISTS);
    CU_ASSERT_EQUAL(
        checkpoint_store_write(store, (struct checkpoint_id){20, 2}, produce_badly, NULL, NULL),
        -ERR_CANCELLED);
    CU_ASSERT_EQUAL(checkpoint_store_list(store, infos), 2);
    checkpoint_store_close(store);
    char path[300];
    (void)snprintf(path, sizeof path, "%s/c/checkpoint-99-2.tmp", fixture_folder);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CU_ASSERT(fd >= 0);
    (void)close(fd);
    store = open_store("c");
    CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
    CU_ASSERT_EQUAL(checkpoint_store_verify(store, (struct checkpoint_id){14, 2}, NULL), 0);
    CU_ASSERT_EQUAL(checkpoint_store_remove(store, (struct checkpoint_id){14, 2}), 0);
    CU_ASSERT_EQUAL(checkpoint_store_list(store, infos), 1);
    CU_ASSERT_EQUAL(
        checkpoint_store_load(store, (struct checkpoint_id){14, 2}, consume, NULL, NULL),
        -ERR_NO_ENTRY);
    checkpoint_store_close(store);
}

/* T2: cut at every 512th byte and flipped at every 64th: refused with a reason, or no difference.
 */
static void damage(void)
{
    enum { SIZE = 600 << 10 };
    struct checkpoint_store *store = open_store("c");
    char path[300];
    unsigned refused = 0, silent = 0, correct = 0;
    CU_ASSERT_EQUAL_FATAL(write_one(store, 5, SIZE), 0);
    (void)snprintf(path, sizeof path, "%s/c/checkpoint-5-2.ckpt", fixture_folder);
    struct stat status;
    CU_ASSERT_EQUAL_FATAL(stat(path, &status), 0);
    for (off_t at = 0; at < status.st_size; at += 64) {
        file_flip("c/checkpoint-5-2.ckpt", (uint64_t)at, (uint8_t)(1 << (at / 64 % 8)));
        struct stream s = stream_of(5, SIZE);
        struct err_text why = {""};
        int result = checkpoint_store_load(store, (struct checkpoint_id){5, 2}, consume, &s, &why);
        refused += result != 0 && why.text[0] != '\0';
        silent += (result == 0 && !(s.right && s.at == SIZE)) || !s.right;
        correct += result == 0;
        file_flip("c/checkpoint-5-2.ckpt", (uint64_t)at, (uint8_t)(1 << (at / 64 % 8)));
    }
    CU_ASSERT(loads(store, 5, SIZE));
    for (off_t length = (status.st_size - 1) / 512 * 512; length >= 0; length -= 512) {
        CU_ASSERT_EQUAL(truncate(path, length), 0);
        struct stream s = stream_of(5, SIZE);
        int result = checkpoint_store_load(store, (struct checkpoint_id){5, 2}, consume, &s, NULL);
        refused += result != 0;
        silent += result == 0 || !s.right;
    }
    printf("# checkpoint damage: correct %u refused %u silent %u\n", correct, refused, silent);
    CU_ASSERT_EQUAL(silent, 0);
    checkpoint_store_close(store);
}

/* From one node to another in pieces; broken, foreign and misnamed ones are refused and leave
 * nothing; one receiver at a time (R9). */
static void transfer(void)
{
    enum { SIZE = 700 << 10, PIECE = 10000 };
    struct checkpoint_id id = {8, 2};
    struct checkpoint_store *from = open_store("from"), *to = open_store("to");
    struct checkpoint_reader *reader;
    struct checkpoint_info infos[CHECKPOINT_LIST_MAX];
    CU_ASSERT_EQUAL_FATAL(write_one(from, 8, SIZE), 0);
    CU_ASSERT_EQUAL_FATAL(checkpoint_reader_open(from, id, &reader), 0);
    uint64_t size = checkpoint_reader_size(reader);
    for (int round = 0; round < 4; round++) { /* flipped, short, misnamed, good */
        struct checkpoint_receiver *receiver, *second;
        struct err_text why = {""};
        struct checkpoint_id as = round == 2 ? (struct checkpoint_id){9, 2} : id;
        CU_ASSERT_EQUAL_FATAL(checkpoint_receiver_open(to, as, size, &receiver), 0);
        CU_ASSERT_EQUAL(checkpoint_receiver_open(to, as, size, &second), -ERR_BUSY);
        uint64_t end = round == 1 ? size - PIECE : size;
        while (checkpoint_receiver_offset(receiver) < end) {
            uint8_t piece[PIECE];
            size_t got;
            uint64_t at = checkpoint_receiver_offset(receiver);
            CU_ASSERT_EQUAL(checkpoint_reader_read(reader, at, piece, sizeof piece, &got), 0);
            if (round == 0 && at == 5 * PIECE)
                piece[77] ^= 1;
            CU_ASSERT_EQUAL(checkpoint_receiver_append(receiver, at + 1, slice_of(piece, got)),
                            -ERR_INVALID);
            CU_ASSERT_EQUAL(checkpoint_receiver_append(receiver, at, slice_of(piece, got)), 0);
        }
        if (round != 1)
            CU_ASSERT_EQUAL(checkpoint_receiver_append(receiver, size, slice_of("x", 1)),
                            -ERR_LIMIT);
        int result = checkpoint_receiver_finish(receiver, &why);
        CU_ASSERT_EQUAL(result, round == 3 ? 0 : -ERR_CORRUPT);
        CU_ASSERT(round == 3 || why.text[0] != '\0');
        CU_ASSERT_EQUAL(checkpoint_store_list(to, infos), round == 3);
        CU_ASSERT_EQUAL(*file_find("to", "checkpoint", 1), '\0');
    }
    CU_ASSERT(loads(to, 8, SIZE));
    for (uint64_t i = 9; i < 12; i++) /* push the one that is being read out */
        CU_ASSERT_EQUAL(write_one(from, i, 64), 0);
    uint8_t byte;
    size_t got = 0;
    CU_ASSERT_EQUAL(checkpoint_reader_read(reader, size - 1, &byte, 1, &got), 0);
    CU_ASSERT_EQUAL(got, 1);
    checkpoint_reader_close(reader);
    checkpoint_store_close(from);
    checkpoint_store_close(to);
}

/* A checkpoint of another cluster is refused. */
static void foreign(void)
{
    struct checkpoint_store *store = open_store("c"), *other = NULL;
    CU_ASSERT_EQUAL(write_one(store, 5, 640), 0);
    char folder[300];
    (void)snprintf(folder, sizeof folder, "%s/c", fixture_folder);
    struct uuid cluster = fixture_cluster;
    cluster.bytes[1] ^= 4;
    CU_ASSERT_EQUAL_FATAL(checkpoint_store_open(folder, &cluster, 1, &other, NULL), 0);
    CU_ASSERT_EQUAL(checkpoint_store_verify(other, (struct checkpoint_id){5, 2}, NULL),
                    -ERR_WRONG_CLUSTER);
    checkpoint_store_close(store);
    checkpoint_store_close(other);
}

/* R19: where reading fails, nothing is said about the checkpoint. */
static void unreadable(void)
{
    char path[300];
    struct err_text why = {""};
    struct checkpoint_store *store = open_store("r");
    struct checkpoint_id id = {10, 2};
    CU_ASSERT_EQUAL(write_one(store, id.index, 64), 0);
    (void)snprintf(path, sizeof path, "%s/r/checkpoint-10-2.ckpt", fixture_folder);
    int fd = open(path, O_WRONLY | O_CLOEXEC); /* every read of it fails */
    int status = checkpoint_scan(store, fd, id, NULL, NULL, &why);
    CU_ASSERT(status < 0 && status != -ERR_CORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "cannot be read"));
    CU_ASSERT_EQUAL(ftruncate(fd, 100), 0);
    (void)close(fd);
    CU_ASSERT_EQUAL(checkpoint_store_verify(store, id, &why), -ERR_CORRUPT);
    checkpoint_store_close(store);
}

/* R19: a folder that cannot be listed is not an empty one. */
static void unlisted(void)
{
    struct checkpoint_store *store = open_store("u");
    struct checkpoint_info infos[CHECKPOINT_LIST_MAX];
    CU_ASSERT_EQUAL(write_one(store, 10, 64), 0);
    int kept = dup(store->folder_fd), dead = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CU_ASSERT(dup2(dead, store->folder_fd) >= 0);
    CU_ASSERT(checkpoint_store_list(store, infos) < 0);
    CU_ASSERT(dup2(kept, store->folder_fd) >= 0);
    CU_ASSERT_EQUAL(checkpoint_store_list(store, infos), 1);
    (void)close(kept);
    (void)close(dead);
    checkpoint_store_close(store);
}

CU_TestInfo checkpoint_tests[] = {{"round trips", round_trips},
                                  {"damage", damage},
                                  {"transfer", transfer},
                                  {"foreign", foreign},
                                  {"unlisted", unlisted},
                                  {"unreadable", unreadable},
                                  CU_TEST_INFO_NULL};
