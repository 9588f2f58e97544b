/* Queries in blocks: gathered, worked off by loop and helpers, answered by the loop. */
#include "metaserver/queries.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/wire/codec.h"

enum {
    QUERIES_MAGIC = 0x71757279,
    FREE_BLOCKS_MAX = 64,
    OUT_KEPT = 64 << 10, /* a block's buffer that grew beyond is given back */
    /* Listings above this go to a helper: about 200 entries, 0.1 ms. */
    LONG_LISTING_BYTES = 32 << 10,
    /* Fewer blocks are done before a helper is awake. */
    SHARED_BLOCKS_MIN = 3,
};

struct item {
    struct query_answer answer;
    size_t at, size;
};

struct block {
    struct list node;
    unsigned count;
    struct item items[QUERIES_BLOCK];
    struct bytes out;
};

struct helper {
    struct queries *owner;
    pthread_t thread;
    struct fs_view *view; /* holds no snapshot between blocks */
};

struct queries {
    uint32_t magic;
    struct queries_options options;
    struct fs *fs; /* NULL = closed */
    struct fs_view *view;
    struct block *gathering; /* NULL = none begun */
    struct list gathered;    /* full ones of this iteration */
    struct loop_defer defer;
    struct list free;
    unsigned free_count;

    pthread_mutex_t lock; /* of everything below */
    pthread_cond_t available, drained;
    struct list ready; /* for whoever has time */
    struct list longs; /* for helpers only */
    struct list done;
    unsigned idle_count, running_count;
    bool is_closing;
    bool done_posted;   /* on_done will run */
    bool is_loop_there; /* the loop is at work on blocks and looks at `done` itself */
    uint64_t helped_count;
    struct helper helpers[QUERIES_HELPERS_MAX];
};

static void lock(struct queries *q)
{
    CHECK(pthread_mutex_lock(&q->lock) == 0);
}

static void unlock(struct queries *q)
{
    CHECK(pthread_mutex_unlock(&q->lock) == 0);
}

/* ---- blocks ---- */

static struct block *block_take(struct queries *q)
{
    struct block *b;
    if (list_empty(&q->free)) {
        b = calloc(1, sizeof *b);
        CHECK(b != NULL);
        list_init(&b->node);
        return b;
    }
    b = CONTAINER_OF(q->free.next, struct block, node);
    list_remove(&b->node);
    q->free_count--;
    return b;
}

static void block_destroy(struct block *b)
{
    bytes_release(&b->out);
    free(b);
}

static void block_give_back(struct queries *q, struct block *b)
{
    if (q->free_count >= FREE_BLOCKS_MAX) {
        block_destroy(b);
        return;
    }
    if (b->out.capacity > OUT_KEPT)
        bytes_release(&b->out);
    b->count = 0;
    list_append(&q->free, &b->node);
    q->free_count++;
}

static struct block *pop(struct list *from)
{
    if (list_empty(from))
        return NULL;
    struct block *b = CONTAINER_OF(from->next, struct block, node);
    list_remove(&b->node);
    return b;
}

static void move_all(struct list *from, struct list *to)
{
    while (!list_empty(from)) {
        struct list *node = from->next;
        list_remove(node);
        list_append(to, node);
    }
}

/* Any thread; `status` is not 0 when there is no snapshot to read from. */
static void block_run(struct fs *fs, struct fs_view *view, int status, struct block *b)
{
    bytes_clear(&b->out);
    for (unsigned i = 0; i < b->count; i++) {
        struct item *item = &b->items[i];
        const struct rpc_request *r = item->answer.request;
        item->at = b->out.size;
        item->answer.status = status;
        if (status == 0)
            item->answer.status = fs_query(fs, view, r->code, r->body, &item->answer.code, &b->out);
        if (item->answer.status != 0)
            b->out.size = item->at;
        item->size = b->out.size - item->at;
    }
    for (unsigned i = 0; i < b->count; i++) /* now it stays where it is */
        b->items[i].answer.body = slice_of(b->out.data + b->items[i].at, b->items[i].size);
}

static void block_answer(struct queries *q, struct block *b)
{
    struct query_answer answers[QUERIES_BLOCK];
    unsigned count = b->count;
    for (unsigned i = 0; i < count; i++)
        answers[i] = b->items[i].answer;
    q->options.answer(q->options.arg, answers, count);
    block_give_back(q, b);
}

/* ---- helpers ---- */

static void answer_done(struct queries *q)
{
    struct list batch;
    struct block *b;
    list_init(&batch);
    lock(q);
    q->done_posted = false;
    move_all(&q->done, &batch);
    unlock(q);
    while ((b = pop(&batch)) != NULL)
        block_answer(q, b);
}

static void on_done(void *arg)
{
    answer_done(arg);
}

/* With the lock, which is given up meanwhile. */
static void help(struct queries *q, struct helper *h, struct block *b)
{
    q->running_count++;
    unlock(q);
#ifdef PLANT_R15_VIEW
    static _Thread_local unsigned uses;
    int status = uses++ % 4 == 0 ? fs_view_renew(h->view) : 0;
    block_run(q->fs, h->view, status, b);
#else
    int status = fs_view_renew(h->view);
    block_run(q->fs, h->view, status, b);
    fs_view_rest(h->view);
#endif
    lock(q);
    q->running_count--;
    q->helped_count++;
    list_append(&q->done, &b->node);
    if (!q->done_posted && !q->is_loop_there) {
        q->done_posted = true;
        loop_post(q->options.loop, on_done, q);
    }
    if (q->running_count == 0)
        CHECK(pthread_cond_signal(&q->drained) == 0);
}

static void *helper_main(void *arg)
{
    struct helper *h = arg;
    struct queries *q = h->owner;
    lock(q);
    for (;;) {
        struct block *b = pop(&q->longs);
        if (!b)
            b = pop(&q->ready);
        if (b) {
            help(q, h, b);
            continue;
        }
        if (q->is_closing)
            break;
        q->idle_count++;
        CHECK(pthread_cond_wait(&q->available, &q->lock) == 0);
        q->idle_count--;
    }
    unlock(q);
    return NULL;
}

/* ---- the loop's part ---- */

static void wake(struct queries *q, unsigned wanted)
{
    for (unsigned i = 0; i < wanted && i < q->idle_count; i++)
        CHECK(pthread_cond_signal(&q->available) == 0);
}

/* Works on blocks until none is left that nobody has begun. */
static void work_off(struct queries *q)
{
    struct block *b;
    for (;;) {
        lock(q);
        b = pop(&q->ready);
        q->is_loop_there = b != NULL;
        unlock(q);
        if (!b)
            break;
        block_run(q->fs, q->view, 0, b);
        block_answer(q, b);
    }
    answer_done(q);
}

static void close_gathering(struct queries *q)
{
    if (q->gathering)
        list_append(&q->gathered, &q->gathering->node);
    q->gathering = NULL;
}

static void on_gathered(void *arg)
{
    struct queries *q = arg;
    close_gathering(q);
    unsigned count = 0;
    LIST_EACH(node, &q->gathered)
    count++;
    if (count < SHARED_BLOCKS_MIN || q->options.helper_count == 0) {
        struct block *b;
        while ((b = pop(&q->gathered)) != NULL) {
            block_run(q->fs, q->view, 0, b);
            block_answer(q, b);
        }
        return;
    }
    lock(q);
    move_all(&q->gathered, &q->ready);
    q->is_loop_there = true;
    wake(q, count - 1);
    unlock(q);
    work_off(q);
}

static bool is_long(const struct rpc_request *request)
{
    struct msg_meta_readdir list;
    return request->code == MSG_meta_readdir &&
           decode_meta_readdir(request->body, request->version, &list) == 0 &&
           list.bytes_max > LONG_LISTING_BYTES;
}

static void append(struct block *b, struct rpc_request *take_request, uint64_t term)
{
    b->items[b->count++].answer = (struct query_answer){.request = take_request, .term = term};
}

bool queries_takes(uint16_t code)
{
    return code == MSG_meta_lookup || code == MSG_meta_getattr || code == MSG_meta_readlink ||
           code == MSG_meta_readdir || code == MSG_meta_chunks;
}

void queries_add(struct queries *q, struct rpc_request *take_request, uint64_t term)
{
    CHECK_OBJ(q, QUERIES_MAGIC);
    CHECK(q->fs != NULL && queries_takes(take_request->code));
    if (q->options.helper_count > 0 && is_long(take_request)) {
        struct block *b = block_take(q);
        append(b, take_request, term);
        lock(q);
        list_append(&q->longs, &b->node);
        wake(q, 1);
        unlock(q);
        return;
    }
    if (!q->gathering)
        q->gathering = block_take(q);
    append(q->gathering, take_request, term);
    if (q->gathering->count == QUERIES_BLOCK)
        close_gathering(q);
    loop_defer_schedule(&q->defer);
}

uint64_t queries_helped(const struct queries *q)
{
    struct queries *own = (struct queries *)(uintptr_t)q;
    lock(own);
    uint64_t count = q->helped_count;
    unlock(own);
    return count;
}

/* ---- life ---- */

static void start_helpers(struct queries *q)
{
    sigset_t all, before;
    (void)sigfillset(&all); /* signals are the loop's business */
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    for (unsigned i = 0; i < q->options.helper_count; i++) {
        q->helpers[i].owner = q;
        CHECK(pthread_create(&q->helpers[i].thread, NULL, helper_main, &q->helpers[i]) == 0);
    }
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
}

struct queries *queries_create(const struct queries_options *options)
{
    struct queries *q = calloc(1, sizeof *q);
    CHECK(q != NULL && options->helper_count <= QUERIES_HELPERS_MAX && options->answer);
    q->magic = QUERIES_MAGIC;
    q->options = *options;
    list_init(&q->gathered);
    list_init(&q->free);
    list_init(&q->ready);
    list_init(&q->longs);
    list_init(&q->done);
    loop_defer_init(&q->defer, options->loop, on_gathered, q);
    CHECK(pthread_mutex_init(&q->lock, NULL) == 0);
    CHECK(pthread_cond_init(&q->available, NULL) == 0);
    CHECK(pthread_cond_init(&q->drained, NULL) == 0);
    start_helpers(q);
    return q;
}

int queries_open(struct queries *q, struct fs *fs, struct fs_view *view)
{
    CHECK_OBJ(q, QUERIES_MAGIC);
    CHECK(q->fs == NULL);
    for (unsigned i = 0; i < q->options.helper_count; i++) {
        int status = fs_view_begin(fs, &q->helpers[i].view);
        if (status != 0) {
            queries_close(q);
            return status;
        }
        fs_view_rest(q->helpers[i].view);
    }
    /* Helpers read these after they took a block under the lock. */
    q->fs = fs;
    q->view = view;
    return 0;
}

void queries_close(struct queries *q)
{
    CHECK_OBJ(q, QUERIES_MAGIC);
    loop_defer_cancel(&q->defer);
    close_gathering(q);
    lock(q);
    q->is_loop_there = true; /* no posts from now on */
    move_all(&q->gathered, &q->ready);
    move_all(&q->longs, &q->ready);
    unlock(q);
    work_off(q);
    lock(q);
    q->is_loop_there = true;
    while (q->running_count > 0)
        CHECK(pthread_cond_wait(&q->drained, &q->lock) == 0);
    q->is_loop_there = false;
    unlock(q);
    loop_post_cancel(q->options.loop, on_done, q);
    answer_done(q);
    for (unsigned i = 0; i < q->options.helper_count; i++) {
        fs_view_end(q->helpers[i].view);
        q->helpers[i].view = NULL;
    }
    q->fs = NULL;
    q->view = NULL;
}

void queries_destroy(struct queries *q)
{
    if (!q)
        return;
    queries_close(q);
    lock(q);
    q->is_closing = true;
    CHECK(pthread_cond_broadcast(&q->available) == 0);
    unlock(q);
    for (unsigned i = 0; i < q->options.helper_count; i++)
        CHECK(pthread_join(q->helpers[i].thread, NULL) == 0);
    struct block *b;
    while ((b = pop(&q->free)) != NULL)
        block_destroy(b);
    (void)pthread_cond_destroy(&q->available);
    (void)pthread_cond_destroy(&q->drained);
    (void)pthread_mutex_destroy(&q->lock);
    q->magic = 0;
    free(q);
}
