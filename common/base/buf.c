/* Counted data blocks with a bounded pool per power-of-two size. */
#include "common/base/buf.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/check.h"

enum {
    CLASS_SHIFT_MIN = 12, /* 4 KiB: smaller ones come straight from malloc */
    CLASS_COUNT = 12,     /* the largest pooled block is 8 MiB */
    NOT_POOLED = CLASS_COUNT,
    PAGE = 4096,
};

/* Per class at most this many bytes rest in the pool: enough for the blocks in flight on one
 * connection set (a few dozen of 1 MiB), small against a daemon's memory. */
static const size_t pool_bytes_max = 48u << 20;

static struct {
    pthread_mutex_t lock;
    struct buf *free[CLASS_COUNT];
    size_t count[CLASS_COUNT];
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint32_t class_of(size_t capacity)
{
    if (capacity < PAGE)
        return NOT_POOLED;
    for (uint32_t i = 0; i < CLASS_COUNT; i++)
        if (capacity <= (size_t)1 << (CLASS_SHIFT_MIN + i))
            return i;
    return NOT_POOLED;
}

static struct buf *pool_take(uint32_t class)
{
    CHECK(pthread_mutex_lock(&pool.lock) == 0);
    struct buf *b = pool.free[class];
    if (b) {
        pool.free[class] = *(struct buf **)b->data;
        pool.count[class]--;
    }
    CHECK(pthread_mutex_unlock(&pool.lock) == 0);
    return b;
}

static int pool_put(struct buf *b)
{
    uint32_t class = b->size_class;
    int kept = 0;
    CHECK(pthread_mutex_lock(&pool.lock) == 0);
    if (pool.count[class] * b->capacity < pool_bytes_max) {
        *(struct buf **)b->data = pool.free[class];
        pool.free[class] = b;
        pool.count[class]++;
        kept = 1;
    }
    CHECK(pthread_mutex_unlock(&pool.lock) == 0);
    return kept;
}

struct buf *buf_create(size_t capacity)
{
    uint32_t class = class_of(capacity);
    struct buf *b = class == NOT_POOLED ? NULL : pool_take(class);
    if (!b) {
        b = malloc(sizeof *b);
        CHECK(b != NULL);
        b->size_class = class;
        b->capacity = class == NOT_POOLED ? capacity : (size_t)1 << (CLASS_SHIFT_MIN + class);
        size_t rounded = (b->capacity + PAGE - 1) / PAGE * PAGE;
        b->data = capacity >= PAGE ? aligned_alloc(PAGE, rounded) : malloc(capacity ? capacity : 1);
        CHECK(b->data != NULL);
    }
    atomic_init(&b->references, 1);
    return b;
}

struct buf *buf_ref(struct buf *b)
{
    unsigned before = atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
    CHECK(before > 0);
    return b;
}

void buf_unref(struct buf *b)
{
    if (!b)
        return;
    unsigned before = atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before > 1)
        return;
    if (b->size_class != NOT_POOLED && pool_put(b))
        return;
    free(b->data);
    free(b);
}
