/* Random appends, cuts, trims, resets and restarts against a model. */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "tests/unit/metaserver/store_fixture.h"
#include "common/base/banned.h"

static struct model model, synced;
static uint64_t synced_count;

static void remember(const struct log_store *store)
{
    struct log_status status;
    log_store_status(store, &status);
    synced_count = status.sync_count;
    synced = model;
}

static void reopen_and_compare(struct log_store **store, struct prng *p)
{
    struct log_recovery recovery;
    struct log_status status;
    log_store_status(*store, &status); /* small segments make append write by itself at times */
    if (prng_chance(p, 500) || status.sync_count != synced_count) {
        CU_ASSERT_EQUAL(log_store_sync(*store), 0);
    } else {
        model = synced;
    }
    CU_ASSERT_EQUAL_FATAL(log_reopen(store, &recovery, 0), 0);
    CU_ASSERT_EQUAL(recovery.verdict, LOG_CLEAN);
    CU_ASSERT(recovery.first_index <= model.first);
    CU_ASSERT_EQUAL(recovery.last_index, model.last);
}

/* Truncations stay above what was trimmed: those entries are committed. */
static void one_step(struct log_store **store, struct prng *p, uint64_t *term)
{
    unsigned dice = (unsigned)prng_below(p, 100);
    if (dice < 60) {
        uint64_t from = model.last + 1;
        if (prng_chance(p, 250) && model.last >= model.first)
            from = prng_between(p, model.first, model.last);
        *term += prng_chance(p, 300);
        CU_ASSERT_EQUAL_FATAL(log_put(*store, &model, from, (unsigned)prng_below(p, 20), *term), 0);
    } else if (dice < 85) {
        CU_ASSERT_EQUAL(log_store_sync(*store), 0);
        remember(*store);
        CU_ASSERT(log_equals(*store, &model));
    } else if (dice < 92) {
        CU_ASSERT_EQUAL(log_store_sync(*store), 0);
        if (model.last >= model.first) {
            uint64_t up_to = prng_between(p, model.first - 1, model.last);
            CU_ASSERT_EQUAL(log_store_trim(*store, up_to), 0);
            model.first = up_to + 1;
        }
        remember(*store);
        CU_ASSERT(log_equals(*store, &model));
    } else if (dice < 99) {
        reopen_and_compare(store, p);
        remember(*store);
        CU_ASSERT(log_equals(*store, &model));
    } else {
        uint64_t index = model.last + prng_below(p, 50);
        CU_ASSERT_EQUAL(log_store_reset(*store, index, *term), 0);
        model.first = index + 1;
        model.last = index;
        remember(*store);
    }
}

/* The log equals a plain array whatever is done to it, over segments of 16 KiB that fill all the
 * time. */
static void against_model(void)
{
    for (uint64_t seed = fixture_seed(), end = seed + 12; seed < end; seed++) {
        struct prng p;
        struct log_store *store = NULL;
        uint64_t term = 1;
        prng_init(&p, seed);
        model_init(&model);
        CU_ASSERT_EQUAL_FATAL(log_reopen(&store, NULL, 0), 0);
        remember(store);
        for (unsigned step = 0; step < 400 && model.last < MODEL_MAX - 100; step++) {
            unsigned failed = CU_get_number_of_failures();
            one_step(&store, &p, &term);
            if (CU_get_number_of_failures() != failed) {
                printf("# seed=%llu step=%u\n", (unsigned long long)seed, step);
                break;
            }
        }
        log_store_close(store);
        fixture_teardown();
        fixture_setup();
    }
}

CU_TestInfo log_random_tests[] = {{"against a model", against_model}, CU_TEST_INFO_NULL};
