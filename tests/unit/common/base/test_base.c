/* Containers, checksums, generator and errors of common/base. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/checksum.h"
#include "common/base/chunk.h"
#include "common/base/err.h"
#include "common/base/list.h"
#include "common/base/lmdb_lock.h"
#include "common/base/map.h"
#include "common/base/prng.h"
#include "tests/lib/tap.h"
#include "tests/unit/common/base/test_base.h"

/* Every row has a name, a text and an errno, and codes of both signs find it. */
static void error_table_is_complete(void)
{
    for (int code = 1; code < ERR_MAX; code++) {
        CU_ASSERT_STRING_NOT_EQUAL(err_name(code), "ERR_UNKNOWN");
        CU_ASSERT(strlen(err_text(code)) > 3);
        CU_ASSERT(err_errno(code) > 0);
        CU_ASSERT_EQUAL(err_errno(code), err_errno(-code));
    }
    CU_ASSERT_STRING_EQUAL(err_name(60000), "ERR_UNKNOWN");
    CU_ASSERT_EQUAL(err_errno(60000), EIO);
    CU_ASSERT_EQUAL(err_from_errno(ENOENT), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(err_from_errno(EDQUOT), -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(err_from_errno(0), 0);
    CU_ASSERT_EQUAL(err_from_errno(EDQUOT), -ERR_NO_SPACE);
}

/* The map agrees with a plain array under random puts and removes. */
static void map_agrees_with_an_array(void)
{
    enum { KEYS = 300, STEPS = 50000 };
    static int values[KEYS];
    bool present[KEYS] = {false};
    const char *text = getenv("SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : 7;
    struct prng chance;
    struct map numbers, names;
    prng_init(&chance, seed);
    map_init(&numbers, seed);
    map_init(&names, seed);
    for (int step = 0; step < STEPS; step++) {
        size_t key = prng_below(&chance, KEYS);
        char name[24];
        int length = snprintf(name, sizeof name, "key/%zu", key * key);
        struct slice bytes = slice_of(name, (size_t)length);
        if (prng_chance(&chance, 500)) {
            void *before = map_put(&numbers, key, &values[key]);
            CU_ASSERT_EQUAL(before != NULL, present[key]);
            (void)map_put_bytes(&names, bytes, &values[key]);
            present[key] = true;
        } else {
            CU_ASSERT_EQUAL(map_remove(&numbers, key) != NULL, present[key]);
            CU_ASSERT_EQUAL(map_remove_bytes(&names, bytes) != NULL, present[key]);
            present[key] = false;
        }
        key = prng_below(&chance, KEYS);
        CU_ASSERT_PTR_EQUAL(map_get(&numbers, key), present[key] ? &values[key] : NULL);
    }
    size_t cursor = 0, count = 0, expected = 0;
    while (map_next(&numbers, &cursor))
        count++;
    for (size_t i = 0; i < KEYS; i++)
        expected += present[i];
    CU_ASSERT_EQUAL(count, expected);
    CU_ASSERT_EQUAL(numbers.count, names.count);
    map_release(&numbers);
    map_release(&names);
}

/* Keys that are prefixes of each other, and the empty key, are different keys. */
static void map_tells_byte_keys_apart(void)
{
    struct map m;
    int a, b, c;
    map_init(&m, 1);
    (void)map_put_bytes(&m, slice_str(""), &a);
    (void)map_put_bytes(&m, slice_str("x"), &b);
    (void)map_put_bytes(&m, slice_str("xx"), &c);
    CU_ASSERT_PTR_EQUAL(map_get_bytes(&m, slice_str("")), &a);
    CU_ASSERT_PTR_EQUAL(map_get_bytes(&m, slice_str("x")), &b);
    CU_ASSERT_PTR_EQUAL(map_get_bytes(&m, slice_str("xx")), &c);
    CU_ASSERT_PTR_NULL(map_get_bytes(&m, slice_str("xxx")));
    map_release(&m);
}

/* A block lives until its last reference goes, and a pooled one comes back aligned. */
static void buffers_are_counted(void)
{
    struct buf *b = buf_create(100000);
    CU_ASSERT(b->capacity >= 100000);
    CU_ASSERT_EQUAL((uintptr_t)b->data % 4096, 0);
    (void)buf_ref(b);
    buf_unref(b);
    memset(b->data, 1, b->capacity);
    buf_unref(b);
    struct buf *again = buf_create(90000);
    CU_ASSERT_PTR_EQUAL(again, b);
    buf_unref(again);
    struct buf *small = buf_create(10);
    CU_ASSERT_EQUAL(small->capacity, 10);
    buf_unref(small);
    buf_unref(NULL);
}

/* Arena memory is zeroed and aligned, also when it grows and after a reset. */
static void arena_gives_zeroed_memory(void)
{
    struct arena a = {0};
    for (int round = 0; round < 3; round++) {
        for (size_t size = 1; size < 9000; size = size * 3 + 1) {
            uint8_t *p = arena_alloc(&a, size);
            CU_ASSERT_EQUAL((uintptr_t)p % 16, 0);
            for (size_t i = 0; i < size; i++)
                CU_ASSERT_EQUAL_FATAL(p[i], 0);
            memset(p, 0xff, size);
        }
        arena_reset(&a);
    }
    CU_ASSERT_EQUAL(memcmp(arena_copy(&a, "abc", 3), "abc", 3), 0);
    arena_release(&a);
}

/* Known answers: CRC-32 of "123456789" and SHA-1 of "abc" (FIPS 180). */
static void checksums_match_known_answers(void)
{
    static const uint8_t abc[SHA1_SIZE] = {0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81,
                                           0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50,
                                           0xc2, 0x6c, 0x9c, 0xd0, 0xd8, 0x9d};
    uint8_t digest[SHA1_SIZE];
    CU_ASSERT_EQUAL(checksum_crc32(0, "123456789", 9), 0xcbf43926);
    CU_ASSERT_EQUAL(checksum_crc32(checksum_crc32(0, "1234", 4), "56789", 5), 0xcbf43926);
    checksum_sha1("abc", 3, digest);
    CU_ASSERT_EQUAL(memcmp(digest, abc, sizeof abc), 0);
}

/* A uuid survives its text form; malformed texts are refused. */
static void uuids_round_trip(void)
{
    char text[UUID_TEXT_SIZE];
    struct uuid a = uuid_make(), b;
    uuid_format(&a, text);
    CU_ASSERT_EQUAL(uuid_parse(text, &b), 0);
    CU_ASSERT_EQUAL(memcmp(&a, &b, sizeof a), 0);
    CU_ASSERT_EQUAL(uuid_parse("", &b), -ERR_INVALID);
    text[3] = 'g';
    CU_ASSERT_EQUAL(uuid_parse(text, &b), -ERR_INVALID);
    text[3] = '\0';
    CU_ASSERT_EQUAL(uuid_parse(text, &b), -ERR_INVALID);
}

/* D24: the same bytes at another block or in another chunk have another crc; padding is zeros. */
static void block_crc_depends_on_the_place(void)
{
    static uint8_t block[BLOCK_SIZE] = {1, 2, 3};
    struct chunk_id id = {5, 0, 1}, other = {5, 1, 1};
    CU_ASSERT_NOT_EQUAL(chunk_block_crc(&id, 0, block), chunk_block_crc(&id, 1, block));
    CU_ASSERT_NOT_EQUAL(chunk_block_crc(&id, 0, block), chunk_block_crc(&other, 0, block));
    CU_ASSERT_EQUAL(chunk_block_crc(&id, 0, block), chunk_block_crc_padded(&id, 0, block, 3));
    CU_ASSERT_NOT_EQUAL(chunk_block_crc(&id, 0, block), 0);
}

/* Each id has exactly one name. */
static void chunk_names_round_trip(void)
{
    struct chunk_id id = {0xabcdef0123456789u, 0xffffffff, 7}, parsed;
    char text[CHUNK_ID_TEXT_SIZE];
    chunk_id_format(&id, text);
    CU_ASSERT_EQUAL(chunk_id_parse(text, &parsed), 0);
    CU_ASSERT(chunk_id_equal(&id, &parsed));
    static const char *const bad[] = {"",      "1.2",  "1.2.3.4",       "1.2.3 ", "01.2.3",
                                      "A.1.1", "1..3", "1.2.100000000", "x",      "1.2.-3"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(chunk_id_parse(bad[i], &parsed), -ERR_INVALID);
}

/* Removing while walking visits each node once. */
static void list_survives_removal_while_walking(void)
{
    struct item {
        struct list link;
        int value;
    } items[5];
    struct list head;
    list_init(&head);
    for (int i = 0; i < 5; i++) {
        items[i].value = i;
        list_append(&head, &items[i].link);
    }
    int sum = 0;
    LIST_EACH(node, &head)
    {
        sum += CONTAINER_OF(node, struct item, link)->value;
        list_remove(node);
    }
    CU_ASSERT_EQUAL(sum, 10);
    CU_ASSERT(list_empty(&head));
}

/* The generator is the published one and its ranges hold. */
static void generator_is_repeatable(void)
{
    struct prng a, b;
    prng_init(&a, 42);
    prng_init(&b, 42);
    for (int i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL(prng_next(&a), prng_next(&b));
        uint64_t v = prng_between(&a, 10, 12);
        CU_ASSERT(v >= 10 && v <= 12);
        (void)prng_next(&b);
    }
}

/* R21: the lock file has its blocks before anything is written through a mapping. */
static void lmdb_lock_has_its_blocks(void)
{
    enum { READERS = 1000 };
    char folder[] = "/var/tmp/cairn-base.XXXXXX", path[64];
    struct stat made;
    CU_ASSERT_FATAL(mkdtemp(folder) != NULL);
    (void)snprintf(path, sizeof path, "%s/lock.mdb", folder);
    CU_ASSERT_EQUAL(lmdb_lock_reserve(folder, READERS), 0);
    CU_ASSERT_EQUAL_FATAL(stat(path, &made), 0);
    CU_ASSERT_EQUAL(made.st_size, 0); /* LMDB takes another size for its own */
    CU_ASSERT(made.st_blocks * 512 >= READERS * 64);
    CU_ASSERT_EQUAL(lmdb_lock_reserve(folder, READERS), 0); /* of an earlier start */
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(rmdir(folder), 0);
    CU_ASSERT_EQUAL(lmdb_lock_reserve(folder, READERS), -ERR_IO);
}

#define TESTS(T)                           \
    T(error_table_is_complete)             \
    T(lmdb_lock_has_its_blocks)            \
    T(map_agrees_with_an_array)            \
    T(map_tells_byte_keys_apart)           \
    T(buffers_are_counted)                 \
    T(arena_gives_zeroed_memory)           \
    T(checksums_match_known_answers)       \
    T(uuids_round_trip)                    \
    T(block_crc_depends_on_the_place)      \
    T(chunk_names_round_trip)              \
    T(list_survives_removal_while_walking) \
    T(generator_is_repeatable)

static CU_TestInfo base_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {{"base", NULL, NULL, NULL, NULL, base_tests},
                             {"base/conf", NULL, NULL, NULL, NULL, conf_tests},
                             CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
