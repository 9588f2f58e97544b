/* Encoding and decoding of single values, little-endian, bounds first. Pure; any thread. */
#ifndef CAIRN_WIRE_PRIM_H
#define CAIRN_WIRE_PRIM_H

#include <stdbool.h>

#include "common/base/bytes.h"
#include "common/wire/types.h"

enum { BLOB_SIZE_MAX = 16 << 20, LIST_COUNT_MAX = 1 << 20 };

/* What is left to decode. */
struct wire_in {
    const uint8_t *at, *end;
    unsigned version;
};

static inline uint16_t load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t load_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static inline uint64_t load_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline void store_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void store_u32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
}

static inline void store_u64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, 8);
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the wire and disk formats are little-endian and their loads assume the same of the machine"
#endif

void put_u8(struct bytes *out, uint8_t v);
void put_u16(struct bytes *out, uint16_t v);
void put_u32(struct bytes *out, uint32_t v);
void put_u64(struct bytes *out, uint64_t v);
void put_i64(struct bytes *out, int64_t v);
void put_uuid(struct bytes *out, struct uuid v);
void put_str(struct bytes *out, struct slice v);  /* aborts above 65,535 bytes */
void put_blob(struct bytes *out, struct slice v); /* aborts above BLOB_SIZE_MAX */
void put_chunk(struct bytes *out, struct chunk_id v);
void put_caller(struct bytes *out, struct wire_caller v);
void put_attr(struct bytes *out, struct wire_attr v);
void put_shardref(struct bytes *out, struct wire_shardref v);

/* False when the input ends early or a length is out of bounds; then `in` is spoiled. */
bool get_u8(struct wire_in *in, uint8_t *ret);
bool get_u16(struct wire_in *in, uint16_t *ret);
bool get_u32(struct wire_in *in, uint32_t *ret);
bool get_u64(struct wire_in *in, uint64_t *ret);
bool get_i64(struct wire_in *in, int64_t *ret);
bool get_uuid(struct wire_in *in, struct uuid *ret);
bool get_str(struct wire_in *in, struct slice *ret);
bool get_blob(struct wire_in *in, struct slice *ret);
bool get_chunk(struct wire_in *in, struct chunk_id *ret);
bool get_caller(struct wire_in *in, struct wire_caller *ret);
bool get_attr(struct wire_in *in, struct wire_attr *ret);
bool get_shardref(struct wire_in *in, struct wire_shardref *ret);

#endif
