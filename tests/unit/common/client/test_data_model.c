/* Random operations, many at once, against an array of bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/common/client/data_fixture.h"

enum { MODEL_SIZE = 6 << 20, ROUNDS = 60, BATCH = 12 };

/* The model is a view on the middle of the file, across a chunk's end. */
static const uint64_t base = CHUNK_SIZE - (2 << 20) - 777;
static uint8_t model[MODEL_SIZE];
static uint64_t model_end; /* size of the file, relative to base */
static const struct client_caller root;
static unsigned reads_under_way;

struct expected {
    uint64_t offset;
    size_t size;
    uint8_t *data;
};

static void on_read(void *arg, int status, const struct slice *pieces, unsigned count, size_t size)
{
    struct expected *e = arg;
    size_t at = 0;
    bool same = status == 0 && size == e->size && count <= CLIENT_READ_PIECES_MAX;
    for (unsigned i = 0; same && i < count; i++) {
        for (size_t k = 0; same && k < pieces[i].size; k++)
            if (pieces[i].data[k] != e->data[at + k]) {
                printf("# byte %zu of read at %llu size %zu\n", at + k,
                       (unsigned long long)e->offset, e->size);
                same = false;
            }
        at += pieces[i].size;
    }
    if (!same)
        printf("# seed=%llu: read at %llu of %zu: status %d size %zu\n",
               (unsigned long long)df.seed, (unsigned long long)e->offset, e->size, status, size);
    CU_ASSERT(same);
    free(e->data);
    free(e);
    reads_under_way--;
    data_on_done(NULL, status);
}

/* A read may also see a change that is asked for before the read has ended. */
static void let_reads_end(void)
{
    if (reads_under_way != 0)
        data_wait();
}

static void model_read(uint64_t at, size_t size)
{
    reads_under_way++;
    struct expected *e = malloc(sizeof *e);
    e->offset = at;
    e->size = at >= model_end ? 0 : size < model_end - at ? size : (size_t)(model_end - at);
    e->data = malloc(e->size + 1);
    memcpy(e->data, model + at, e->size);
    data_begin();
    client_read(df.handle, base + at, size, on_read, e);
}

static void model_write(struct prng *p, uint64_t at, size_t size)
{
    struct buf *block = data_pattern(size, prng_next(p));
    let_reads_end();
    memcpy(model + at, block->data, size);
    if (at + size > model_end)
        model_end = at + size;
    data_begin();
    client_write(df.handle, base + at, block, 0, size, data_on_done, NULL);
}

static void model_zero(uint64_t at, size_t size, enum client_fallocate_mode mode)
{
    let_reads_end();
    memset(model + at, 0, size);
    if (mode == CLIENT_ZERO_RANGE && at + size > model_end)
        model_end = at + size;
    data_begin();
    client_fallocate(df.handle, &root, mode, base + at, size, data_on_done, NULL);
}

static void model_truncate(uint64_t size)
{
    let_reads_end();
    if (size < model_end)
        memset(model + size, 0, MODEL_SIZE - size);
    model_end = size;
    data_begin();
    client_truncate(df.handle, &root, base + size, data_on_attr, NULL);
}

static size_t random_size(struct prng *p)
{
    static const size_t limits[] = {20, 5000, 5000, 70000, 400000, 1300000};
    return 1 + prng_below(p, limits[prng_below(p, 6)]);
}

static void random_step(struct prng *p)
{
    size_t size = random_size(p);
    uint64_t at = prng_below(p, MODEL_SIZE - size);
    if (prng_chance(p, 300))
        at = at / BLOCK_SIZE * BLOCK_SIZE;
    switch (prng_below(p, 20)) {
    case 0:
        model_truncate(at);
        break;
    case 1:
        model_zero(at, size, prng_chance(p, 500) ? CLIENT_PUNCH_HOLE : CLIENT_ZERO_RANGE);
        break;
    case 2:
        data_begin();
        client_flush(df.handle, data_on_done, NULL);
        break;
    case 3:
        data_begin();
        client_fsync(df.handle, data_on_done, NULL);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
        model_read(at, size);
        break;
    default:
        model_write(p, at, size);
    }
}

static void run_model(unsigned rounds)
{
    struct prng p;
    prng_init(&p, df.seed);
    memset(model, 0, sizeof model);
    model_end = 0;
    data_create("a");
    CU_ASSERT_EQUAL(data_truncate(base), 0);
    for (unsigned round = 0; round < rounds && df.worst == 0; round++) {
        for (unsigned i = 0; i < BATCH; i++)
            random_step(&p);
        if (prng_chance(&p, 700))
            data_wait();
        if (prng_chance(&p, 100)) { /* another client's eyes: nothing is buffered any more */
            data_wait();
            CU_ASSERT_EQUAL(data_flush(), 0);
            for (uint64_t at = 0; at < MODEL_SIZE; at += 1 << 20)
                model_read(at, 1 << 20);
            data_wait();
        }
    }
    data_wait();
    CU_ASSERT_EQUAL(data_fsync(), 0);
    CU_ASSERT_EQUAL(df.worst, 0);
    CU_ASSERT_EQUAL(df.cluster->files[2].size, base + model_end);
    for (uint64_t at = 0; at < MODEL_SIZE; at += 1 << 20)
        model_read(at, 1 << 20);
    data_wait();
    client_release(df.handle);
    if (df.worst != 0 || CU_get_number_of_failures() != 0)
        printf("# seed=%llu\n", (unsigned long long)df.seed);
}

/* Whatever is asked for in whatever order, reads see what was written before them. */
static void contents_match_the_model(void)
{
    df.cluster->delay_ms = 3;
    run_model(ROUNDS);
}

/* The same while servers cut connections and answer with passing errors. */
static void contents_match_the_model_under_faults(void)
{
    df.cluster->delay_ms = 3;
    df.cluster->fault_per_mille = 40;
    run_model(ROUNDS / 2);
}

#define TESTS(T)                \
    T(contents_match_the_model) \
    T(contents_match_the_model_under_faults)

CU_TestInfo tests_data_model[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
