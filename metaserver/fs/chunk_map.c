/* The chunks a file has: slots (index -> generation), and the garbage table of dropped ones. */
#include "metaserver/fs/state.h"

#include "common/base/banned.h"

enum { CHUNK_PREFIX = 9 };

int chunk_get(struct fs_view *v, const struct inode *i, uint32_t index, uint32_t *ret_generation)
{
    struct slice value;
    if (index == 0) {
        *ret_generation = i->first_generation;
        return i->first_generation ? 0 : -ERR_NO_ENTRY;
    }
    int status = row_get(v, key_of_chunk(i->number, index), &value);
    if (status)
        return status;
    if (value.size != 4)
        return -ERR_CORRUPT;
    *ret_generation = load_u32(value.data);
    return 0;
}

void chunk_add(struct op *o, struct inode *i, uint32_t index, uint32_t generation)
{
    i->chunk_total++;
    if (index == 0) {
        i->first_generation = generation;
        return;
    }
    uint8_t value[4];
    store_u32(value, generation);
    row_put(o->fs, key_of_chunk(i->number, index), slice_of(value, sizeof value));
}

static void garbage_add(struct op *o, const struct inode *i, uint32_t index, uint32_t generation)
{
    struct fs_state *s = &o->fs->state;
    uint8_t value[17];
    store_u64(value, i->number);
    store_u32(value + 8, index);
    store_u32(value + 12, generation);
    value[16] = i->copies;
    row_put(o->fs, key_of_u64('G', s->garbage_next++), slice_of(value, sizeof value));
    s->garbage_count++;
}

bool chunks_drop(struct op *o, struct inode *i, uint32_t first)
{
    uint32_t before = i->chunk_total;
    if (first == 0 && i->first_generation) {
        garbage_add(o, i, 0, i->first_generation);
        i->first_generation = 0;
        i->chunk_total--;
    }
    struct slice key, value;
    struct row_key from = key_of_chunk(i->number, first);
    while (i->chunk_total > 0 && row_seek(o->view, from, CHUNK_PREFIX, &key, &value) == 0) {
        uint32_t index = (uint32_t)(key_u64(key, 5));
        uint32_t generation = load_u32(value.data);
        row_remove(o->fs, key_of_chunk(i->number, index));
        garbage_add(o, i, index, generation);
        i->chunk_total--;
    }
    return i->chunk_total < before;
}

void chunks_replace(struct op *o, struct inode *i, uint32_t generation)
{
    uint32_t left = i->chunk_total;
    if (i->first_generation) {
        garbage_add(o, i, 0, i->first_generation);
        i->first_generation = generation;
        left--;
    }
    struct slice key, value;
    uint8_t packed[4];
    store_u32(packed, generation);
    for (uint32_t next = 1; left > 0; left--) {
        struct row_key from = key_of_chunk(i->number, next);
        if (row_seek(o->view, from, CHUNK_PREFIX, &key, &value) != 0)
            return;
        uint32_t index = (uint32_t)(key_u64(key, 5));
        garbage_add(o, i, index, load_u32(value.data));
        row_put(o->fs, key_of_chunk(i->number, index), slice_of(packed, sizeof packed));
        next = index + 1;
    }
}

int chunks_list(struct fs_view *v, const struct inode *i, uint32_t first, uint32_t count_max,
                struct bytes *list, uint32_t *ret_count, bool *ret_end)
{
    uint32_t count = 0;
    *ret_end = true;
    if (first == 0 && i->first_generation && count_max > 0) {
        put_rec_chunk_slot(list, &(struct rec_chunk_slot){.generation = i->first_generation});
        count++;
    }
    struct slice key, value;
    struct row_key from = key_of_chunk(i->number, first);
    /* The total spares small files the search. */
    int status = i->chunk_total > count && i->chunk_total > (i->first_generation ? 1u : 0u)
                     ? row_seek(v, from, CHUNK_PREFIX, &key, &value)
                     : -ERR_NO_ENTRY;
    for (; status == 0; status = row_next(v, from, CHUNK_PREFIX, &key, &value)) {
        if (value.size != 4)
            return -ERR_CORRUPT;
        if (count == count_max) {
            *ret_end = false;
            break;
        }
        struct rec_chunk_slot slot = {.index = (uint32_t)key_u64(key, 5),
                                      .generation = load_u32(value.data)};
        put_rec_chunk_slot(list, &slot);
        count++;
    }
    *ret_count = count;
    return status == -ERR_NO_ENTRY ? 0 : status;
}

static uint32_t chunks_of(uint64_t size)
{
    return (uint32_t)((size + CHUNK_SIZE - 1) / CHUNK_SIZE);
}

void file_resize(struct op *o, struct inode *i, uint64_t size)
{
    bool fewer = chunks_of(size) < chunks_of(i->size);
    if (size < i->size || i->chunk_total > 0)
        fewer |= chunks_drop(o, i, chunks_of(size));
#ifndef PLANT_D12
    if (fewer)
        i->chunk_generation++; /* what is still on its way to a dropped chunk stays outside (D12) */
#endif
    o->fs->state.file_bytes += size - i->size;
    i->size = size;
}
