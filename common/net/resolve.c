/* Name look-ups on threads of their own. */
#include "common/net/resolve.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/banned.h"

struct resolve {
    struct loop *loop;
    pthread_t thread;
    char *text;
    resolve_fn *fn;
    void *arg;
    int status;
    struct sock_address address;
    struct err_text why;
};

static void release(struct resolve *resolve)
{
    CHECK(pthread_join(resolve->thread, NULL) == 0);
    free(resolve->text);
    free(resolve);
}

static void on_resolved(void *arg)
{
    struct resolve *resolve = arg;
    resolve->fn(resolve->arg, resolve->status, &resolve->address, resolve->why.text);
    release(resolve);
}

static void *look_up(void *arg)
{
    struct resolve *resolve = arg;
    resolve->status = sock_parse(resolve->text, &resolve->address, &resolve->why);
    loop_post(resolve->loop, on_resolved, resolve);
    return NULL;
}

struct resolve *resolve_start(struct loop *loop, const char *text, resolve_fn *fn, void *arg)
{
    struct resolve *resolve = calloc(1, sizeof *resolve);
    CHECK(resolve != NULL);
    resolve->loop = loop;
    resolve->fn = fn;
    resolve->arg = arg;
    resolve->text = strdup(text);
    CHECK(resolve->text != NULL);
    if (pthread_create(&resolve->thread, NULL, look_up, resolve) == 0)
        return resolve;
    free(resolve->text);
    free(resolve);
    return NULL;
}

void resolve_cancel(struct resolve *resolve)
{
    struct loop *loop = resolve->loop;
    CHECK(pthread_join(resolve->thread, NULL) == 0);
    loop_post_cancel(loop, on_resolved, resolve);
    free(resolve->text);
    free(resolve);
}
