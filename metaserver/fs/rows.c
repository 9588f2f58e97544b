/* Rows of the store: keys, access, the state hash, and the one row of counters. */
#include "metaserver/fs/state.h"

#include "common/base/check.h"

#include "common/base/banned.h"

static void key_add_u64(struct row_key *k, uint64_t v)
{
    uint64_t big = __builtin_bswap64(v);
    memcpy(k->bytes + k->size, &big, 8);
    k->size += 8;
}

static void key_add_u32(struct row_key *k, uint32_t v)
{
    uint32_t big = __builtin_bswap32(v);
    memcpy(k->bytes + k->size, &big, 4);
    k->size += 4;
}

struct row_key key_of_table(char table)
{
    return (struct row_key){.size = 1, .bytes = {(uint8_t)table}};
}

struct row_key key_of_u64(char table, uint64_t a)
{
    struct row_key k = key_of_table(table);
    key_add_u64(&k, a);
    return k;
}

struct row_key key_of_pair(char table, uint64_t a, uint64_t b)
{
    struct row_key k = key_of_u64(table, a);
    key_add_u64(&k, b);
    return k;
}

struct row_key key_of_chunk(uint64_t inode, uint32_t index)
{
    struct row_key k = key_of_u64('K', inode);
    key_add_u32(&k, index);
    return k;
}

struct row_key key_of_uuid(char table, const struct uuid *uuid)
{
    struct row_key k = key_of_table(table);
    memcpy(k.bytes + k.size, uuid->bytes, UUID_SIZE);
    k.size += UUID_SIZE;
    return k;
}

struct row_key key_of_shard(unsigned copies, uint32_t shard)
{
    struct row_key k = key_of_table('R');
    k.bytes[k.size++] = (uint8_t)copies;
    key_add_u32(&k, shard);
    return k;
}

uint64_t key_u64(struct slice key, size_t at)
{
    uint64_t big;
    if (key.size < at + 8)
        return 0;
    memcpy(&big, key.data + at, 8);
    return __builtin_bswap64(big);
}

static int failed(struct fs_view *v, int status)
{
    if (status && status != -ERR_NO_ENTRY && v->failure == 0)
        v->failure = status;
    return status;
}

int row_get(struct fs_view *v, struct row_key key, struct slice *ret_value)
{
    return failed(v, v->kv->ops->get(v->kv, slice_of(key.bytes, key.size), ret_value));
}

static int in_table(struct row_key *key, size_t prefix_size, struct slice found)
{
    if (found.size < prefix_size || memcmp(found.data, key->bytes, prefix_size) != 0)
        return -ERR_NO_ENTRY;
    return 0;
}

int row_seek(struct fs_view *v, struct row_key key, size_t prefix_size, struct slice *ret_key,
             struct slice *ret_value)
{
    int status = v->cursor ? 0 : v->kv->ops->cursor_open(v->kv, &v->cursor);
    if (status == 0)
        status = v->cursor->ops->seek(v->cursor, slice_of(key.bytes, key.size), ret_key, ret_value);
    return status ? failed(v, status) : in_table(&key, prefix_size, *ret_key);
}

int row_next(struct fs_view *v, struct row_key key, size_t prefix_size, struct slice *ret_key,
             struct slice *ret_value)
{
    CHECK(v->cursor != NULL);
    int status = v->cursor->ops->next(v->cursor, ret_key, ret_value);
    return status ? failed(v, status) : in_table(&key, prefix_size, *ret_key);
}

void view_drop_cursor(struct fs_view *v)
{
    if (v->cursor)
        v->cursor->ops->cursor_close(v->cursor);
    v->cursor = NULL;
}

void state_mix(struct fs_state *s, const void *data, size_t size)
{
    uint64_t sum = checksum_crc32((uint32_t)s->hash, data, size);
    s->hash = (s->hash ^ (sum << 17 | size)) * 0x9e3779b97f4a7c15u;
    s->hash ^= s->hash >> 29;
}

void row_put(struct fs *fs, struct row_key key, struct slice value)
{
    CHECK(fs->in_batch);
    state_mix(&fs->state, key.bytes, key.size);
    state_mix(&fs->state, value.data, value.size);
    failed(&fs->writer, fs->kv->ops->put(fs->kv, slice_of(key.bytes, key.size), value));
}

void row_remove(struct fs *fs, struct row_key key)
{
    CHECK(fs->in_batch);
    state_mix(&fs->state, key.bytes, key.size);
    failed(&fs->writer, fs->kv->ops->remove(fs->kv, slice_of(key.bytes, key.size)));
}

static bool get_hashes(struct wire_in *in, struct fs_state *s)
{
    for (unsigned i = 0; i < FS_HASHES_KEPT; i++)
        if (!get_u64(in, &s->hashes[i].index) || !get_u64(in, &s->hashes[i].hash))
            return false;
    return get_u64(in, &s->hash_count);
}

static bool get_state(struct wire_in *in, struct fs_state *s)
{
    return get_u64(in, &s->applied_index) && get_u64(in, &s->applied_term) &&
           get_uuid(in, &s->cluster) && get_u8(in, &s->copies) && get_u32(in, &s->shard_count) &&
           get_u32(in, &s->initial_targets) && get_u64(in, &s->table_version) &&
           get_u64(in, &s->inode_next) && get_u64(in, &s->session_next) &&
           get_u64(in, &s->garbage_next) && get_u64(in, &s->file_count) &&
           get_u64(in, &s->directory_count) && get_u64(in, &s->file_bytes) &&
           get_u64(in, &s->garbage_count) && get_u64(in, &s->orphan_count) &&
           get_u32(in, &s->session_count) && get_u64(in, &s->hash) && get_hashes(in, s) &&
           (in->at == in->end || (get_u32(in, &s->target_next) && in->at == in->end));
}

int state_unpack(struct slice value, struct fs_state *ret)
{
    uint16_t version;
    struct fs_state s = {0};
    struct wire_in in = {value.data, value.data + value.size, WIRE_VERSION};
    if (!get_u16(&in, &version))
        return -ERR_CORRUPT;
    if (version != FS_FORMAT_VERSION)
        return -ERR_VERSION;
    if (!get_state(&in, &s))
        return -ERR_CORRUPT;
    *ret = s;
    return 0;
}

int state_read(struct fs_view *v, struct fs_state *ret)
{
    struct slice value;
    int status = row_get(v, key_of_table('M'), &value);
    if (status == 0)
        status = state_unpack(value, ret);
    return status ? status : load_is_under_way(v, &ret->is_loading);
}

void state_write(struct fs *fs)
{
    const struct fs_state *s = &fs->state;
    struct bytes out = {0};
    put_u16(&out, FS_FORMAT_VERSION);
    put_u64(&out, s->applied_index);
    put_u64(&out, s->applied_term);
    put_uuid(&out, s->cluster);
    put_u8(&out, s->copies);
    put_u32(&out, s->shard_count);
    put_u32(&out, s->initial_targets);
    put_u64(&out, s->table_version);
    put_u64(&out, s->inode_next);
    put_u64(&out, s->session_next);
    put_u64(&out, s->garbage_next);
    put_u64(&out, s->file_count);
    put_u64(&out, s->directory_count);
    put_u64(&out, s->file_bytes);
    put_u64(&out, s->garbage_count);
    put_u64(&out, s->orphan_count);
    put_u32(&out, s->session_count);
    put_u64(&out, s->hash);
    for (unsigned i = 0; i < FS_HASHES_KEPT; i++) {
        put_u64(&out, s->hashes[i].index);
        put_u64(&out, s->hashes[i].hash);
    }
    put_u64(&out, s->hash_count);
    if (s->target_next)
        put_u32(&out, s->target_next);
    /* Not through row_put: the hash must not depend on where a replica's batches end. */
    struct row_key key = key_of_table('M');
    failed(&fs->writer, fs->kv->ops->put(fs->kv, slice_of(key.bytes, key.size), bytes_slice(&out)));
    bytes_release(&out);
}
