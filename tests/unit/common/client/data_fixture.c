/* A client on the fake cluster, and calls that wait. */
#include "tests/unit/common/client/data_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct data_fixture df;
static const struct client_caller root;

static void ended(int status)
{
    df.status = status;
    if (status != 0 && df.worst == 0)
        df.worst = status;
    if (--df.pending == 0)
        loop_stop(df.loop);
}

void data_begin(void)
{
    df.pending++;
}

static void on_late(void *arg)
{
    (void)arg;
    printf("# seed=%llu: a call did not end within 40 s\n", (unsigned long long)df.seed);
    abort();
}

int data_wait(void)
{
    struct loop_timer late;
    loop_timer_init(&late, df.loop, on_late, NULL);
    loop_timer_start_ms(&late, 40000);
    while (df.pending != 0)
        loop_run(df.loop);
    loop_timer_stop(&late);
    return df.status;
}

static void on_slept(void *arg)
{
    (void)arg;
    df.pending--;
    loop_stop(df.loop);
}

void data_sleep_ms(unsigned ms)
{
    struct loop_timer timer;
    loop_timer_init(&timer, df.loop, on_slept, NULL);
    loop_timer_start_ms(&timer, ms);
    data_begin();
    while (loop_timer_is_running(&timer))
        loop_run(df.loop);
}

void data_on_done(void *arg, int status)
{
    (void)arg;
    ended(status);
}

void data_on_attr(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    (void)arg, (void)attr, (void)valid_ms;
    ended(status);
}

static void on_open(void *arg, int status, const struct client_opened *opened)
{
    (void)arg;
    df.handle = status == 0 ? opened->handle : NULL;
    ended(status);
}

static void on_read(void *arg, int status, const struct slice *pieces, unsigned count, size_t size)
{
    (void)arg;
    size_t at = 0;
    free(df.read_data);
    df.read_data = malloc(size + 1);
    df.read_size = size;
    CU_ASSERT(count <= CLIENT_READ_PIECES_MAX);
    for (unsigned i = 0; i < count; i++) {
        memcpy(df.read_data + at, pieces[i].data, pieces[i].size);
        at += pieces[i].size;
    }
    CU_ASSERT_EQUAL(at, status == 0 ? size : 0);
    ended(status);
}

void data_create(const char *name)
{
    data_begin();
    client_create_file(df.client, &root, ROOT_INODE, slice_str(name), 0644, OPEN_READ | OPEN_WRITE,
                       on_open, NULL);
    CU_ASSERT_EQUAL(data_wait(), 0);
}

void data_open(uint64_t inode)
{
    data_begin();
    client_open(df.client, &root, inode, OPEN_READ | OPEN_WRITE, on_open, NULL);
    CU_ASSERT_EQUAL(data_wait(), 0);
}

struct buf *data_pattern(size_t size, uint64_t seed)
{
    struct buf *block = buf_create(size);
    struct prng p;
    prng_init(&p, seed);
    for (size_t at = 0; at < size; at += 8) {
        uint64_t v = prng_next(&p);
        memcpy(block->data + at, &v, size - at < 8 ? size - at : 8);
    }
    return block;
}

int data_write(uint64_t offset, size_t size, uint64_t seed)
{
    data_begin();
    client_write(df.handle, offset, data_pattern(size, seed), 0, size, data_on_done, NULL);
    return data_wait();
}

int data_read(uint64_t offset, size_t size)
{
    data_begin();
    client_read(df.handle, offset, size, on_read, NULL);
    return data_wait();
}

int data_flush(void)
{
    data_begin();
    client_flush(df.handle, data_on_done, NULL);
    return data_wait();
}

int data_fsync(void)
{
    data_begin();
    client_fsync(df.handle, data_on_done, NULL);
    return data_wait();
}

int data_truncate(uint64_t size)
{
    data_begin();
    client_truncate(df.handle, &root, size, data_on_attr, NULL);
    return data_wait();
}

bool data_is_pattern(size_t at, size_t size, uint64_t seed)
{
    struct buf *want = data_pattern(size, seed);
    bool same = at + size <= df.read_size && memcmp(df.read_data + at, want->data, size) == 0;
    buf_unref(want);
    return same;
}

bool data_is_zero(size_t at, size_t size)
{
    for (size_t i = at; i < at + size; i++)
        if (i >= df.read_size || df.read_data[i] != 0)
            return false;
    return true;
}

static void on_ready(void *arg, int status, struct client *client, const char *why)
{
    (void)arg, (void)why;
    df.client = client;
    ended(status);
}

void data_setup_with(uint64_t write_buffer_bytes, unsigned deadline_ms)
{
    const char *text = getenv("SEED");
    memset(&df, 0, sizeof df);
    df.seed = text ? strtoull(text, NULL, 10) : random_u64() % 1000000;
    df.loop = loop_create();
    df.cluster = fake_cluster_create(df.loop, df.seed);
    data_begin();
    client_create(df.loop,
                  &(struct client_options){.cluster = rpc_server_address(df.cluster->meta),
                                           .name = "test",
                                           .deadline_ms = deadline_ms,
                                           .write_buffer_bytes = write_buffer_bytes},
                  on_ready, NULL);
    CU_ASSERT_EQUAL(data_wait(), 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(df.client);
}

void data_setup(void)
{
    data_setup_with(0, 8000);
}

void data_teardown(void)
{
    data_begin();
    client_close(df.client, data_on_done, NULL);
    (void)data_wait();
    CU_ASSERT_EQUAL(df.cluster->overlaps, 0);
    CU_ASSERT_EQUAL(df.cluster->crc_wrong, 0);
    fake_cluster_destroy(df.cluster);
    loop_destroy(df.loop);
    free(df.read_data);
}

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"client/data", NULL, NULL, data_setup, data_teardown, tests_data},
        {"client/copies", NULL, NULL, data_setup, data_teardown, tests_copies},
        {"client/data_faults", NULL, NULL, data_setup, data_teardown, tests_data_faults},
        {"client/data_model", NULL, NULL, data_setup, data_teardown, tests_data_model},
        CU_SUITE_INFO_NULL,
    };
    return tap_run(suites, argc, argv);
}
