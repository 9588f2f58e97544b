/* The thread of a blocking client, and how a call sleeps until its answer. */
#include "common/client/blocking.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/client/blocking_private.h"

#include "common/base/banned.h"

struct blocking_call {
    struct blocking_client *b;
    blocking_start_fn *start;
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    int status;
};

static void on_post(void *arg)
{
    struct blocking_call *call = arg;
    call->start(call, call->b->client, call->arg);
}

void blocking_done(struct blocking_call *call, int status)
{
    CHECK(pthread_mutex_lock(&call->lock) == 0);
    CHECK(!call->done);
    call->done = true;
    call->status = status;
    CHECK(pthread_cond_signal(&call->changed) == 0);
    CHECK(pthread_mutex_unlock(&call->lock) == 0);
}

int blocking_run(struct blocking_client *b, blocking_start_fn *start, void *arg)
{
    struct blocking_call call = {.b = b, .start = start, .arg = arg};
    CHECK(pthread_mutex_init(&call.lock, NULL) == 0);
    CHECK(pthread_cond_init(&call.changed, NULL) == 0);
    loop_post(b->loop, on_post, &call);
    CHECK(pthread_mutex_lock(&call.lock) == 0);
    while (!call.done)
        CHECK(pthread_cond_wait(&call.changed, &call.lock) == 0);
    CHECK(pthread_mutex_unlock(&call.lock) == 0);
    pthread_cond_destroy(&call.changed);
    pthread_mutex_destroy(&call.lock);
    return call.status;
}

struct client *blocking_client_of(struct blocking_client *b)
{
    return b->client;
}

/* ---- life ---- */

static void *run_thread(void *arg)
{
    struct blocking_client *b = arg;
    loop_run(b->loop);
    return NULL;
}

struct start_args {
    struct blocking_client *b;
    struct blocking_call *call;
    const struct client_options *options;
    char *why;
};

static void on_ready(void *arg, int status, struct client *client, const char *why)
{
    struct start_args *args = arg;
    args->b->client = client;
    if (status != 0)
        snprintf(args->why, BLOCKING_WHY_SIZE, "%s", why);
    blocking_done(args->call, status);
}

static void start_create(struct blocking_call *call, struct client *none, void *arg)
{
    (void)none;
    struct start_args *args = arg;
    args->call = call;
    client_create(args->b->loop, args->options, on_ready, args);
}

static void end_thread(struct blocking_client *b)
{
    loop_stop(b->loop);
    CHECK(pthread_join(b->thread, NULL) == 0);
    loop_adopt(b->loop);
    loop_destroy(b->loop);
    free(b);
}

int blocking_start(const struct client_options *options, struct blocking_client **ret_client,
                   char why[BLOCKING_WHY_SIZE])
{
    struct blocking_client *b = calloc(1, sizeof *b);
    CHECK(b);
    b->loop = loop_create();
    CHECK(pthread_create(&b->thread, NULL, run_thread, b) == 0);
    struct start_args args = {.b = b, .options = options, .why = why};
    int status = blocking_run(b, start_create, &args);
    if (status != 0)
        end_thread(b);
    else
        *ret_client = b;
    return status;
}

static void on_closed(void *arg, int status)
{
    blocking_done(arg, status);
}

static void start_close(struct blocking_call *call, struct client *c, void *arg)
{
    (void)arg;
    client_close(c, on_closed, call);
}

int blocking_stop(struct blocking_client *b)
{
    int status = blocking_run(b, start_close, NULL);
    end_thread(b);
    return status;
}
