/* Attributes and names this client has seen, with the time until which they may be reused, and what
 * is known about pages cached above us. Pure: the time is an argument. One thread.
 *
 * Bounded: at most `entries_max` attributes and as many names; the one used longest ago goes. */
#ifndef CAIRN_CLIENT_ATTR_CACHE_H
#define CAIRN_CLIENT_ATTR_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/slice.h"
#include "common/wire/types.h"

enum { ATTR_CACHE_ENTRIES = 65536, ATTR_CACHE_STRIPES = 256 };

struct attr_cache {
    unsigned ttl_ms, entries_max; /* ttl 0: nothing is ever reused */
    struct map attrs, names;
    struct list attrs_used, names_used;        /* most recently used first */
    uint32_t name_changes[ATTR_CACHE_STRIPES]; /* own changes in directories, by hash of parent */
};

void attr_cache_init(struct attr_cache *cache, unsigned ttl_ms, unsigned entries_max,
                     uint64_t seed);
void attr_cache_release(struct attr_cache *cache);
/* The session was lost: nothing is known any more. */
void attr_cache_clear(struct attr_cache *cache);

/* NULL when absent or too old. *ret_valid_ms: how long it may still be reused. */
const struct wire_attr *attr_cache_get(struct attr_cache *cache, uint64_t inode, uint64_t now_ms,
                                       unsigned *ret_valid_ms);
/* An answer of the leader, asked for at asked_ms: older ones (by attr.version) than the known one
 * are ignored. False when it was. */
bool attr_cache_put(struct attr_cache *cache, const struct wire_attr *attr, uint64_t asked_ms);
/* An own change of names in directory `parent` gave an inode the attributes `changed`: times,
 * version and link count of the directory are put right at once, without asking again. */
void attr_cache_touch_dir(struct attr_cache *cache, uint64_t parent,
                          const struct wire_attr *changed, int nlink_delta);
void attr_cache_drop(struct attr_cache *cache, uint64_t inode); /* pages included */
/* Old, but what is known about pages stays. */
void attr_cache_expire(struct attr_cache *cache, uint64_t inode);

enum name_found { NAME_UNKNOWN, NAME_KNOWN, NAME_ABSENT };
enum name_found attr_cache_name(struct attr_cache *cache, uint64_t parent, struct slice name,
                                uint64_t now_ms, uint64_t *ret_inode, unsigned *ret_valid_ms);
/* inode 0 = there is no such name. */
void attr_cache_name_put(struct attr_cache *cache, uint64_t parent, struct slice name,
                         uint64_t inode, uint64_t asked_ms);
void attr_cache_name_drop(struct attr_cache *cache, uint64_t parent, struct slice name);
/* An answer to a lookup may be cached only if no own change happened in the directory since it was
 * asked: compare this number. */
uint32_t attr_cache_changes(const struct attr_cache *cache, uint64_t parent);
void attr_cache_changed_dir(struct attr_cache *cache, uint64_t parent);

/* Pages above us (the kernel's) are right for contents `data_version`. Unknown (false) after an
 * eviction or when somebody else wrote. */
bool attr_cache_pages_match(const struct attr_cache *cache, const struct wire_attr *attr);
/* From an open on, pages are filled with what `attr` describes. */
void attr_cache_pages_set(struct attr_cache *cache, const struct wire_attr *attr);
/* An own change moved the contents from version `before` to attr's. When `before` is not what the
 * pages were known at (0 = the server did not say), somebody else wrote in between: they are
 * unknown from now on. */
void attr_cache_pages_moved(struct attr_cache *cache, const struct wire_attr *attr,
                            uint64_t before);

#endif
