/* Progress of a job: it never goes back, its rate is that of a window, the time left follows. */
#include <string.h>

#include "tests/unit/tools/test_tools.h"
#include "tools/progress.h"

#include "common/base/banned.h"

static struct progress p;
static struct rec_job_info job;

static void begin(void)
{
    progress_init(&p);
    job = (struct rec_job_info){.job = 17,
                                .kind = JOB_DRAIN,
                                .state = JOB_RUNNING,
                                .slots_left = 100,
                                .chunks_left = 1000,
                                .bytes_left = 1000000};
}

/* One more percent is done. */
static void advance(unsigned percents)
{
    job.slots_done += percents;
    job.slots_left -= percents;
    job.chunks_done += 10ull * percents;
    job.chunks_left -= 10ull * percents;
    job.bytes_done += 10000ull * percents;
    job.bytes_left -= 10000ull * percents;
}

/* Finished work counts; all of it counts only when the leader says that the job is done. */
static void share_follows_the_work(void)
{
    begin();
    progress_add(&p, &job, 0);
    CU_ASSERT_EQUAL(p.permille, 0);
    advance(43);
    progress_add(&p, &job, 1000);
    CU_ASSERT_EQUAL(p.permille, 430);
    advance(57);
    progress_add(&p, &job, 2000);
    CU_ASSERT_EQUAL(p.permille, 999);
    job.state = JOB_DONE;
    progress_add(&p, &job, 3000);
    CU_ASSERT_EQUAL(p.permille, 1000);
}

/* R4: writers make the rest larger, an old answer comes late: what is shown does not fall. */
static void nothing_goes_back(void)
{
    begin();
    advance(50);
    progress_add(&p, &job, 0);
    job.bytes_left *= 10;
    job.chunks_done -= 100;
    job.bytes_done -= 100000;
    job.slots_done -= 10;
    progress_add(&p, &job, 1000);
    CU_ASSERT_EQUAL(p.permille, 500);
    CU_ASSERT_EQUAL(p.chunks_done, 500);
    CU_ASSERT_EQUAL(p.bytes_done, 500000);
    CU_ASSERT_EQUAL(p.slots_done, 50);
}

/* A leader that has just begun has not heard how much is left: that is no progress. */
static void new_leader_is_no_progress(void)
{
    begin();
    advance(20);
    progress_add(&p, &job, 0);
    job.bytes_left = job.chunks_left = 0;
    progress_add(&p, &job, 1000);
    CU_ASSERT_EQUAL(p.permille, 200);
    CU_ASSERT_EQUAL(p.bytes_left, 800000);
    job.slots_left = 0;
    progress_add(&p, &job, 2000);
    CU_ASSERT_EQUAL(p.bytes_left, 0);
}

/* Before anything is known, and of shards without a byte. */
static void empty_shards_count_as_shards(void)
{
    begin();
    job.bytes_left = job.chunks_left = 0;
    advance(0);
    progress_add(&p, &job, 0);
    CU_ASSERT_EQUAL(p.permille, 0);
    job.slots_done = 25;
    job.slots_left = 75;
    progress_add(&p, &job, 1000);
    CU_ASSERT_EQUAL(p.permille, 250);
    job.slots_done = job.slots_left = 0;
    progress_init(&p);
    progress_add(&p, &job, 0);
    CU_ASSERT_EQUAL(p.permille, 0);
}

/* The rate is that of the last minute, not of the whole job; the time left is the rest over it. */
static void rate_is_of_the_window(void)
{
    begin();
    for (unsigned second = 0; second < 100; second++) {
        if (second >= 40 && second % 10 == 0)
            advance(5);
        progress_add(&p, &job, second * 1000ull);
    }
    CU_ASSERT_EQUAL(p.permille, 300);
    /* 250,000 bytes in the sixty seconds behind 39 */
    CU_ASSERT_TRUE(p.rate >= 4000 && p.rate <= 5000);
    CU_ASSERT_TRUE(p.eta_ms >= 140000 && p.eta_ms <= 175000);
    for (unsigned second = 100; second < 200; second++)
        progress_add(&p, &job, second * 1000ull);
    CU_ASSERT_EQUAL(p.rate, 0);
    CU_ASSERT_EQUAL(p.eta_ms, PROGRESS_NO_ETA);
    job.rate = 7000; /* while nothing ends here, what the leader sees going on */
    progress_add(&p, &job, 201000);
    CU_ASSERT_EQUAL(p.rate, 7000);
    CU_ASSERT_EQUAL(p.eta_ms, 100000);
}

/* No time is promised for what is paused, or cannot move at all. */
static void blocked_has_no_end(void)
{
    begin();
    job.rate = 10000;
    progress_add(&p, &job, 0);
    CU_ASSERT_EQUAL(p.eta_ms, 100000);
    job.slots_blocked = job.slots_left;
    progress_add(&p, &job, 500);
    CU_ASSERT_EQUAL(p.eta_ms, PROGRESS_NO_ETA);
    job.slots_blocked = 0;
    job.state = JOB_PAUSED;
    progress_add(&p, &job, 1000);
    CU_ASSERT_EQUAL(p.eta_ms, PROGRESS_NO_ETA);
}

/* Of a cancelled job nobody says what is left: it does not look like nearly done. */
static void cancelled_stays_where_it_was(void)
{
    begin();
    advance(30);
    progress_add(&p, &job, 0);
    job.state = JOB_CANCELLED;
    job.slots_left = 0;
    job.bytes_left = job.chunks_left = 0;
    progress_add(&p, &job, 1000);
    CU_ASSERT_EQUAL(p.permille, 300);
    CU_ASSERT_EQUAL(progress_of(&job).permille, 0);
}

/* A list has one answer only. */
static void one_answer_is_enough(void)
{
    begin();
    advance(50);
    job.rate = 5000;
    struct progress once = progress_of(&job);
    CU_ASSERT_EQUAL(once.permille, 500);
    CU_ASSERT_EQUAL(once.rate, 5000);
    CU_ASSERT_EQUAL(once.eta_ms, 100000);
}

#define TESTS(T)                    \
    T(share_follows_the_work)       \
    T(nothing_goes_back)            \
    T(new_leader_is_no_progress)    \
    T(empty_shards_count_as_shards) \
    T(rate_is_of_the_window)        \
    T(blocked_has_no_end)           \
    T(cancelled_stays_where_it_was) \
    T(one_answer_is_enough)
CU_TestInfo tests_progress[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
