/* A client, a fake metaserver and their loop; calls that wait. */
#include "tests/unit/common/client/fixture.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/common/client/fake_data.h"

struct fixture fx;
const struct client_caller root = {0};

static void on_late(void *arg)
{
    (void)arg;
    CU_FAIL("no callback within 20 s");
    fx.done = true;
    fx.status = -ERR_TIMEOUT;
    loop_stop(fx.loop);
}

int fx_wait(void)
{
    struct loop_timer late;
    loop_timer_init(&late, fx.loop, on_late, NULL);
    loop_timer_start_ms(&late, 20000);
    while (!fx.done) /* a callback before loop_run left a stop behind */
        loop_run(fx.loop);
    loop_timer_stop(&late);
    fx.done = false;
    return fx.status;
}

static void ended(int status)
{
    fx.done = true;
    fx.status = status;
    loop_stop(fx.loop);
}

static void on_slept(void *arg)
{
    (void)arg;
    ended(0);
}

void fx_sleep_ms(unsigned ms)
{
    struct loop_timer timer;
    loop_timer_init(&timer, fx.loop, on_slept, NULL);
    loop_timer_start_ms(&timer, ms);
    (void)fx_wait();
}

void fx_on_done(void *arg, int status)
{
    (void)arg;
    ended(status);
}

void fx_on_attr(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    (void)arg;
    if (status == 0)
        fx.attr = *attr;
    fx.valid_ms = valid_ms;
    ended(status);
}

void fx_on_open(void *arg, int status, const struct client_opened *opened)
{
    (void)arg;
    if (status == 0)
        fx.opened = *opened;
    ended(status);
}

int fx_lookup(uint64_t parent, const char *name)
{
    client_lookup(fx.client, &root, parent, slice_str(name), fx_on_attr, NULL);
    return fx_wait();
}

int fx_getattr(uint64_t inode)
{
    client_getattr(fx.client, &root, inode, fx_on_attr, NULL);
    return fx_wait();
}

int fx_mkdir(uint64_t parent, const char *name)
{
    client_mkdir(fx.client, &root, parent, slice_str(name), 0755, fx_on_attr, NULL);
    return fx_wait();
}

int fx_create(uint64_t parent, const char *name)
{
    client_create_file(fx.client, &root, parent, slice_str(name), 0644, OPEN_READ | OPEN_WRITE,
                       fx_on_open, NULL);
    return fx_wait();
}

int fx_open(uint64_t inode, uint32_t flags)
{
    client_open(fx.client, &root, inode, flags, fx_on_open, NULL);
    return fx_wait();
}

int fx_unlink(uint64_t parent, const char *name)
{
    client_unlink(fx.client, &root, parent, slice_str(name), fx_on_attr, NULL);
    return fx_wait();
}

int fx_write(struct client_handle *h, uint64_t offset, const char *text)
{
    size_t size = strlen(text);
    struct buf *block = buf_create(size);
    memcpy(block->data, text, size);
    client_write(h, offset, block, 0, size, fx_on_done, NULL);
    return fx_wait();
}

int fx_flush(struct client_handle *h)
{
    client_flush(h, fx_on_done, NULL);
    return fx_wait();
}

static void on_invalidate(void *arg, uint64_t inode)
{
    (void)arg, (void)inode;
    fx.invalidated++;
}

static void on_ready(void *arg, int status, struct client *client, const char *why)
{
    (void)arg;
    fx.client = client;
    snprintf(fx.why, sizeof fx.why, "%s", why);
    ended(status);
}

void client_setup(void)
{
    memset(&fx, 0, sizeof fx);
    fx.loop = loop_create();
    fx.meta = fake_meta_create(fx.loop);
    client_create(fx.loop,
                  &(struct client_options){.cluster = rpc_server_address(fx.meta->server),
                                           .name = "test",
                                           .deadline_ms = 3000},
                  on_ready, NULL);
    CU_ASSERT_EQUAL(fx_wait(), 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(fx.client);
    client_on_invalidate(fx.client, on_invalidate, NULL);
}

void client_teardown(void)
{
    if (fx.client) {
        client_close(fx.client, fx_on_done, NULL);
        (void)fx_wait();
    }
    fake_meta_destroy(fx.meta);
    fake_data_reset();
    loop_destroy(fx.loop);
}

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"client/op", NULL, NULL, NULL, NULL, tests_op},
        {"client/meta", NULL, NULL, client_setup, client_teardown, tests_client},
        {"client/session", NULL, NULL, client_setup, client_teardown, tests_session},
        CU_SUITE_INFO_NULL,
    };
    return tap_run(suites, argc, argv);
}
