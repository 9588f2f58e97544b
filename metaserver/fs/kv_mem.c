/* The ordered store in memory: a treap whose nodes are shared by snapshots and copied on write, so
 * that a snapshot is one reference. Priorities are a hash of the key: the same rows always make the
 * same tree. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/checksum.h"
#include "common/base/err.h"
#include "common/base/list.h"
#include "metaserver/fs/kv.h"

#include "common/base/banned.h"

struct node {
    unsigned references;
    uint32_t priority;
    struct node *left, *right;
    size_t key_size, value_size;
    uint8_t bytes[]; /* key, value */
};

struct mem_view {
    struct kv_view view;
    struct mem *store;
    struct node *root; /* a reference; of a writer: store->root is used */
    bool is_writer;
};

struct mem {
    struct kv kv;
    struct node *root;  /* with the writes of the open transaction */
    struct node *saved; /* as of its begin */
    uint64_t bytes;
    uint64_t saved_bytes;
    bool writing;
    unsigned snapshots_open;
    struct mem_view writer;
};

struct mem_cursor {
    struct kv_cursor cursor;
    struct mem_view *view;
    size_t key_size; /* of the key it stands on */
    uint8_t key[KV_KEY_SIZE_MAX];
};

static struct mem *store_of(struct kv *kv)
{
    return CONTAINER_OF(kv, struct mem, kv);
}

static struct slice key_of(const struct node *n)
{
    return slice_of(n->bytes, n->key_size);
}

static struct slice value_of(const struct node *n)
{
    return slice_of(n->bytes + n->key_size, n->value_size);
}

static int compare(struct slice a, struct slice b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size ? memcmp(a.data, b.data, size) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static struct node *node_ref(struct node *n)
{
    if (n)
        n->references++;
    return n;
}

static void node_unref(struct node *n)
{
    if (!n || --n->references > 0)
        return;
    node_unref(n->left);
    node_unref(n->right);
    free(n);
}

static struct node *node_create(struct slice key, struct slice value)
{
    struct node *n = malloc(sizeof *n + key.size + value.size);
    CHECK(n != NULL);
    *n = (struct node){.references = 1, .key_size = key.size, .value_size = value.size};
    n->priority = checksum_crc32(0x9e3779b9u, key.data, key.size) * 2654435761u;
    memcpy(n->bytes, key.data, key.size);
    if (value.size)
        memcpy(n->bytes + key.size, value.data, value.size);
    return n;
}

/* The same node for this writer alone; consumes a reference. */
static struct node *node_own(struct node *n)
{
    if (n->references == 1)
        return n;
    struct node *copy = node_create(key_of(n), value_of(n));
    copy->left = node_ref(n->left);
    copy->right = node_ref(n->right);
    node_unref(n);
    return copy;
}

/* Consumes n; keys below `key` go left, above go right; the key itself is dropped. */
static void split(struct node *n, struct slice key, struct node **ret_left, struct node **ret_right)
{
    if (!n) {
        *ret_left = *ret_right = NULL;
        return;
    }
    n = node_own(n);
    int order = compare(key, key_of(n));
    struct node *left = n->left, *right = n->right;
    if (order == 0) {
        n->left = n->right = NULL;
        node_unref(n);
        *ret_left = left;
        *ret_right = right;
    } else if (order < 0) {
        split(left, key, ret_left, &n->left);
        *ret_right = n;
    } else {
        split(right, key, &n->right, ret_right);
        *ret_left = n;
    }
}

static struct node *merge(struct node *left, struct node *right)
{
    if (!left || !right)
        return left ? left : right;
    if (left->priority > right->priority) {
        left = node_own(left);
        left->right = merge(left->right, right);
        return left;
    }
    right = node_own(right);
    right->left = merge(left, right->left);
    return right;
}

static const struct node *find(const struct node *n, struct slice key)
{
    while (n) {
        int order = compare(key, key_of(n));
        if (order == 0)
            return n;
        n = order < 0 ? n->left : n->right;
    }
    return NULL;
}

/* The first key >= key, or > key when `after`. */
static const struct node *find_above(const struct node *n, struct slice key, bool after)
{
    const struct node *best = NULL;
    while (n) {
        int order = compare(key, key_of(n));
        if (order < 0 || (order == 0 && !after)) {
            best = n;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

static const struct node *find_below(const struct node *n, struct slice key)
{
    const struct node *best = NULL;
    while (n) {
        if (compare(key_of(n), key) < 0) {
            best = n;
            n = n->right;
        } else {
            n = n->left;
        }
    }
    return best;
}

static int mem_begin(struct kv *kv, struct kv_view **ret_writer)
{
    struct mem *m = store_of(kv);
    CHECK(!m->writing);
    m->writing = true;
    m->saved = node_ref(m->root);
    m->saved_bytes = m->bytes;
    *ret_writer = &m->writer.view;
    return 0;
}

static int mem_commit(struct kv *kv)
{
    struct mem *m = store_of(kv);
    CHECK(m->writing);
    m->writing = false;
    node_unref(m->saved);
    m->saved = NULL;
    return 0;
}

static void mem_abort(struct kv *kv)
{
    struct mem *m = store_of(kv);
    CHECK(m->writing);
    m->writing = false;
    node_unref(m->root);
    m->root = m->saved;
    m->saved = NULL;
    m->bytes = m->saved_bytes;
}

static uint64_t node_bytes(const struct node *n)
{
    return sizeof *n + n->key_size + n->value_size;
}

static int mem_put(struct kv *kv, struct slice key, struct slice value)
{
    struct mem *m = store_of(kv);
    CHECK(m->writing && key.size <= KV_KEY_SIZE_MAX && value.size <= KV_VALUE_SIZE_MAX);
    struct node *added = node_create(key, value), *left, *right;
    const struct node *old = find(m->root, key);
    m->bytes += node_bytes(added) - (old ? node_bytes(old) : 0);
    split(m->root, key, &left, &right);
    m->root = merge(merge(left, added), right);
    return 0;
}

static int mem_remove(struct kv *kv, struct slice key)
{
    struct mem *m = store_of(kv);
    CHECK(m->writing);
    const struct node *old = find(m->root, key);
    if (!old)
        return -ERR_NO_ENTRY;
    m->bytes -= node_bytes(old);
    struct node *left, *right;
    split(m->root, key, &left, &right);
    m->root = merge(left, right);
    return 0;
}

static struct mem_view *view_of(struct kv_view *view)
{
    return CONTAINER_OF(view, struct mem_view, view);
}

static const struct node *root_of(const struct mem_view *v)
{
    return v->is_writer ? v->store->root : v->root;
}

/* What a new snapshot sees: the state before the open transaction. */
static struct node *committed_root(struct mem *m)
{
    return node_ref(m->writing ? m->saved : m->root);
}

static int mem_read_begin(struct kv *kv, struct kv_view **ret_view)
{
    struct mem *m = store_of(kv);
    struct mem_view *v = calloc(1, sizeof *v);
    CHECK(v != NULL);
    *v = (struct mem_view){.view = {kv->ops}, .store = m, .root = committed_root(m)};
    m->snapshots_open++;
    *ret_view = &v->view;
    return 0;
}

static int mem_read_renew(struct kv_view *view)
{
    struct mem_view *v = view_of(view);
    node_unref(v->root);
    v->root = committed_root(v->store);
    return 0;
}

static void mem_read_rest(struct kv_view *view)
{
    struct mem_view *v = view_of(view);
    node_unref(v->root);
    v->root = NULL;
}

static void mem_read_end(struct kv_view *view)
{
    struct mem_view *v = view_of(view);
    node_unref(v->root);
    v->store->snapshots_open--;
    free(v);
}

static int mem_get(struct kv_view *view, struct slice key, struct slice *ret_value)
{
    const struct node *n = find(root_of(view_of(view)), key);
    if (!n)
        return -ERR_NO_ENTRY;
    *ret_value = value_of(n);
    return 0;
}

static int mem_cursor_open(struct kv_view *view, struct kv_cursor **ret_cursor)
{
    struct mem_cursor *c = calloc(1, sizeof *c);
    CHECK(c != NULL);
    c->cursor.ops = view->ops;
    c->view = view_of(view);
    *ret_cursor = &c->cursor;
    return 0;
}

static void mem_cursor_close(struct kv_cursor *cursor)
{
    free(CONTAINER_OF(cursor, struct mem_cursor, cursor));
}

static int stand_on(struct mem_cursor *c, const struct node *n, struct slice *ret_key,
                    struct slice *ret_value)
{
    if (!n)
        return -ERR_NO_ENTRY;
    c->key_size = n->key_size;
    memcpy(c->key, n->bytes, n->key_size);
    *ret_key = key_of(n);
    *ret_value = value_of(n);
    return 0;
}

static int mem_seek(struct kv_cursor *cursor, struct slice key, struct slice *ret_key,
                    struct slice *ret_value)
{
    struct mem_cursor *c = CONTAINER_OF(cursor, struct mem_cursor, cursor);
    return stand_on(c, find_above(root_of(c->view), key, false), ret_key, ret_value);
}

static int mem_next(struct kv_cursor *cursor, struct slice *ret_key, struct slice *ret_value)
{
    struct mem_cursor *c = CONTAINER_OF(cursor, struct mem_cursor, cursor);
    struct slice key = slice_of(c->key, c->key_size);
    return stand_on(c, find_above(root_of(c->view), key, true), ret_key, ret_value);
}

static int mem_previous(struct kv_cursor *cursor, struct slice *ret_key, struct slice *ret_value)
{
    struct mem_cursor *c = CONTAINER_OF(cursor, struct mem_cursor, cursor);
    struct slice key = slice_of(c->key, c->key_size);
    return stand_on(c, find_below(root_of(c->view), key), ret_key, ret_value);
}

static bool mem_is_ample(struct kv *kv)
{
    (void)kv;
    return true;
}

static uint64_t mem_bytes_used(struct kv *kv)
{
    return store_of(kv)->bytes;
}

static void mem_destroy(struct kv *kv)
{
    struct mem *m = store_of(kv);
    CHECK(m->snapshots_open == 0);
    if (m->writing)
        mem_abort(kv);
    node_unref(m->root);
    free(m);
}

static const struct kv_ops mem_ops = {
    .begin = mem_begin,
    .commit = mem_commit,
    .abort = mem_abort,
    .put = mem_put,
    .remove = mem_remove,
    .read_begin = mem_read_begin,
    .read_renew = mem_read_renew,
    .read_rest = mem_read_rest,
    .read_end = mem_read_end,
    .get = mem_get,
    .cursor_open = mem_cursor_open,
    .cursor_close = mem_cursor_close,
    .seek = mem_seek,
    .next = mem_next,
    .previous = mem_previous,
    .bytes_used = mem_bytes_used,
    .is_ample = mem_is_ample,
    .destroy = mem_destroy,
};

struct kv *kv_mem_create(void)
{
    struct mem *m = calloc(1, sizeof *m);
    CHECK(m != NULL);
    m->kv.ops = &mem_ops;
    m->writer = (struct mem_view){.view = {&mem_ops}, .store = m, .is_writer = true};
    return &m->kv;
}
