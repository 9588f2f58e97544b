/* The one thread that tells the kernel to drop what it has cached. */
#include "fuse/notify.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/list.h"

#include "common/base/banned.h"

struct notice {
    struct list node;
    uint64_t inode;
    bool pages;
    loop_fn *done;
    void *arg;
};

struct notify {
    struct loop *loop;
    struct fuse_session *session;
    pthread_t thread;
    pthread_mutex_t lock; /* of the fields below */
    pthread_cond_t changed;
    struct list queue;
    unsigned count;
    bool stop;
};

static struct notice *take(struct notify *n)
{
    struct notice *notice = NULL;
    CHECK(pthread_mutex_lock(&n->lock) == 0);
    while (!n->stop && list_empty(&n->queue))
        CHECK(pthread_cond_wait(&n->changed, &n->lock) == 0);
    if (!n->stop) {
        notice = CONTAINER_OF(n->queue.next, struct notice, node);
        list_remove(&notice->node);
        n->count--;
    }
    CHECK(pthread_mutex_unlock(&n->lock) == 0);
    return notice;
}

static void *run(void *arg)
{
    struct notify *n = arg;
    for (struct notice *notice; (notice = take(n)) != NULL; free(notice)) {
        /* An inode the kernel does not know is an error that means: nothing to drop. */
        (void)fuse_lowlevel_notify_inval_inode(n->session, notice->inode, notice->pages ? 0 : -1,
                                               0);
        if (notice->done)
            loop_post(n->loop, notice->done, notice->arg);
    }
    return NULL;
}

struct notify *notify_create(struct loop *loop, struct fuse_session *session)
{
    struct notify *n = calloc(1, sizeof *n);
    CHECK(n);
    n->loop = loop;
    n->session = session;
    list_init(&n->queue);
    CHECK(pthread_mutex_init(&n->lock, NULL) == 0);
    CHECK(pthread_cond_init(&n->changed, NULL) == 0);
    CHECK(pthread_create(&n->thread, NULL, run, n) == 0);
    return n;
}

void notify_destroy(struct notify *n)
{
    CHECK(pthread_mutex_lock(&n->lock) == 0);
    n->stop = true;
    CHECK(pthread_cond_signal(&n->changed) == 0);
    CHECK(pthread_mutex_unlock(&n->lock) == 0);
    CHECK(pthread_join(n->thread, NULL) == 0);
    LIST_EACH(node, &n->queue)
    free(CONTAINER_OF(node, struct notice, node));
    pthread_cond_destroy(&n->changed);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

void notify_invalidate(struct notify *n, uint64_t inode, bool pages, loop_fn *done, void *arg)
{
    struct notice *notice = calloc(1, sizeof *notice);
    CHECK(notice);
    *notice = (struct notice){.inode = inode, .pages = pages, .done = done, .arg = arg};
    CHECK(pthread_mutex_lock(&n->lock) == 0);
    bool full = n->count >= NOTIFY_QUEUE_MAX;
    if (!full) {
        list_append(&n->queue, &notice->node);
        n->count++;
        CHECK(pthread_cond_signal(&n->changed) == 0);
    }
    CHECK(pthread_mutex_unlock(&n->lock) == 0);
    if (full) {
        free(notice);
        if (done)
            done(arg);
    }
}
