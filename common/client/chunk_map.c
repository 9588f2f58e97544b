/* Chunk maps of files: fetched whole, kept with the file, extended by what this client made. */
#include "common/client/chunk_map.h"

#include <stdlib.h>
#include <string.h>

#include "common/client/meta_op.h"

#include "common/base/banned.h"

enum { PAGE_SLOTS = 65536, INDEX_END = 1 << 20 /* CLIENT_FILE_SIZE_MAX / CHUNK_SIZE */ };

/* A slot in the map's pointer: generation + 1, and a mark while the metadata does not know it. */
#define SLOT_MADE ((uintptr_t)1 << 40)

static void *slot_pack(uint32_t generation, uintptr_t made)
{
    return (void *)(((uintptr_t)generation + 1) | made);
}

bool file_chunk(const struct client_file *f, uint32_t index, uint32_t *ret_generation)
{
    CHECK(f->chunks_loaded);
    uintptr_t slot = (uintptr_t)map_get(&f->chunks, index);
    if (slot == 0)
        return false;
    *ret_generation = (uint32_t)((slot & (SLOT_MADE - 1)) - 1);
    return true;
}

void file_chunk_made(struct client_file *f, uint32_t index, uint32_t generation)
{
    CHECK(index < INDEX_END);
    map_put(&f->chunks, index, slot_pack(generation, SLOT_MADE));
}

void file_chunks_cut(struct client_file *f, uint32_t first_index)
{
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&f->chunks, &cursor)) != NULL;)
        if (e->key >= first_index)
            map_remove(&f->chunks, e->key);
}

/* `take_map` becomes the file's map, together with the slots made here. The attributes are those of
 * its moment, as far as they matter to it. */
static void replace(struct client_file *f, struct map *take_map, const struct wire_attr *as_of)
{
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&f->chunks, &cursor)) != NULL;)
        if (((uintptr_t)e->value & SLOT_MADE) != 0 && !map_get(take_map, e->key))
            map_put(take_map, e->key, e->value);
    map_release(&f->chunks);
    f->chunks = *take_map;
    f->chunks_version = as_of->data_version;
    f->chunks_copies = as_of->copies;
    f->chunks_generation = as_of->chunk_generation;
    f->chunks_loaded = true;
}

static int add_slots(struct map *map, const struct wire_list *slots, uint32_t *ret_next)
{
    struct slice cursor = slots->raw;
    struct rec_chunk_slot slot;
    for (unsigned i = 0; i < slots->count; i++) {
        if (!rec_chunk_slot_next(&cursor, &slot) || slot.index >= INDEX_END)
            return -ERR_PROTOCOL;
        map_put(map, slot.index, slot_pack(slot.generation, 0));
        *ret_next = slot.index + 1;
    }
    return 0;
}

int chunk_map_install(struct client_file *f, const struct wire_list *slots,
                      const struct wire_attr *attr)
{
    struct map map;
    uint32_t next = 0;
    map_init(&map, prng_next(&f->c->prng));
    int status = add_slots(&map, slots, &next);
    if (status == 0)
        replace(f, &map, attr);
    else
        map_release(&map);
    return status;
}

/* ---- loading in pieces ---- */

struct map_load {
    struct client_file *file; /* held */
    struct map map;
    uint32_t next;
    struct wire_attr as_of; /* data_version: when it began, what came later is found by the next
                               open; copies and chunk_generation: of the first piece */
    client_done_fn *done;
    void *arg;
};

static void load_piece(struct map_load *load);

static void load_end(struct map_load *load, int status)
{
    if (status == 0)
        replace(load->file, &load->map, &load->as_of);
    else
        map_release(&load->map);
    load->done(load->arg, status);
    file_drop(load->file);
    free(load);
}

static void finish_piece(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct map_load *load = op->arg;
    struct msg_meta_chunks_r r = {0};
    uint32_t next = load->next;
    if (status == 0 && reply->code != MSG_meta_chunks_r)
        status = -ERR_PROTOCOL;
    if (status == 0)
        status = decode_meta_chunks_r(reply->body, reply->version, &r);
    if (status == 0 && (r.copies == 0 || r.copies > COPIES_MAX))
        status = -ERR_PROTOCOL;
    if (status == 0 && load->next == 0) {
        load->as_of.copies = r.copies;
        load->as_of.chunk_generation = r.generation;
    } else if (status == 0 && load->as_of.copies != r.copies) { /* it moved in between */
        map_release(&load->map);
        load->next = 0;
        load_piece(load);
        return;
    }
    if (status == 0)
        status = add_slots(&load->map, &r.chunks, &next);
    if (status == 0 && !r.end && next <= load->next)
        status = -ERR_PROTOCOL; /* no progress */
    load->next = next;
    if (status == 0 && !r.end)
        load_piece(load);
    else
        load_end(load, status);
}

/* The map of a file is no secret to who may open it; this runs in the name of the mount. */
static void load_piece(struct map_load *load)
{
    struct meta_op *op =
        meta_op_new(load->file->c, finish_piece, load, slice_of(NULL, 0), slice_of(NULL, 0));
    encode_meta_chunks(&op->call.body, &(struct msg_meta_chunks){.inode = load->file->inode,
                                                                 .first_index = load->next,
                                                                 .count_max = PAGE_SLOTS});
    meta_op_start(op, META_READ, MSG_meta_chunks);
}

void chunk_map_load(struct client_file *f, client_done_fn *done, void *arg)
{
    struct map_load *load = calloc(1, sizeof *load);
    CHECK(load);
    load->file = file_hold(f);
    map_init(&load->map, prng_next(&f->c->prng));
    load->as_of.data_version = f->attr.data_version;
    load->done = done;
    load->arg = arg;
    load_piece(load);
}

/* ---- refresh: attributes, then the map ---- */

struct refresh {
    struct client_file *file; /* held */
    client_done_fn *done;
    void *arg;
};

static void finish_refresh(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct refresh *refresh = op->arg;
    struct msg_meta_entry_r entry;
    status = meta_entry(reply, status, &entry);
    if (status == 0) {
        file_absorb(op->c, &entry.attr, 0, op->call.asked_ms);
        chunk_map_load(refresh->file, refresh->done, refresh->arg);
    } else {
        refresh->done(refresh->arg, status);
    }
    file_drop(refresh->file);
    free(refresh);
}

void file_refresh(struct client_file *f, client_done_fn *done, void *arg)
{
    struct refresh *refresh = calloc(1, sizeof *refresh);
    CHECK(refresh);
    *refresh = (struct refresh){.file = file_hold(f), .done = done, .arg = arg};
    struct meta_op *op =
        meta_op_new(f->c, finish_refresh, refresh, slice_of(NULL, 0), slice_of(NULL, 0));
    encode_meta_getattr(&op->call.body, &(struct msg_meta_getattr){.inode = f->inode});
    meta_op_start(op, META_READ, MSG_meta_getattr);
}

/* ---- commit ---- */

/* The slots of the commit stand in op->name, as client_slot each. */
static void finish_commit(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct client_file *f = op->file;
    struct msg_meta_entry_r entry;
    status = meta_entry(reply, status, &entry);
    if (status == 0) {
        struct client_slot slot;
        bool alone = f->chunks_version == entry.data_version_before;
        for (size_t at = 0; at < op->name.size; at += sizeof slot) {
            memcpy(&slot, op->name.data + at, sizeof slot);
            uint32_t generation;
            if (f->chunks_loaded && file_chunk(f, slot.index, &generation) &&
                generation == slot.generation)
                map_put(&f->chunks, slot.index, slot_pack(slot.generation, 0));
        }
        if (alone)
            f->chunks_version = entry.attr.data_version;
        file_absorb(op->c, &entry.attr, entry.data_version_before, op->call.asked_ms);
    }
    op->fn.done(op->arg, status);
}

void file_commit(struct client_file *f, uint64_t size_min, int64_t mtime_ns,
                 const struct client_slot *added, unsigned count, client_done_fn *done, void *arg)
{
    struct rec_chunk_slot *records = calloc(count + 1, sizeof *records);
    CHECK(records);
    for (unsigned i = 0; i < count; i++)
        records[i] = (struct rec_chunk_slot){
            .index = added[i].index,
            .generation = added[i].generation,
        };
    struct meta_op *op = meta_op_new(f->c, finish_commit, arg,
                                     slice_of(added, count * sizeof *added), slice_of(NULL, 0));
    op->fn.done = done;
    op->file = file_hold(f);
    encode_meta_commit(&op->call.body,
                       &(struct msg_meta_commit){
                           .caller = {.uid = f->writer_uid, .gid = f->writer_gid},
                           .inode = f->inode,
                           .size_min = size_min,
                           .mtime_ns = mtime_ns,
                           .added = {.count = count, .items = records},
                           .generation = f->dirty ? f->dirty_generation : f->chunks_generation,
                       });
    free(records);
    meta_op_start(op, META_CHANGE, MSG_meta_commit);
}
