/* The core's store actions, each carried out on a worker, or at once when memory has the answer. */
#define _GNU_SOURCE /* syncfs */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chunkserver/private.h"
#include "common/base/check.h"
#include "common/wire/prim.h"
#include "common/base/banned.h"

enum { LIST_MAX = 1024 };

uint64_t chunk_strand(const struct chunk_id *id)
{
    uint64_t h = id->inode * 0x9e3779b97f4a7c15ull + id->index;
    return (h ^ h >> 29) * 0xbf58476d1ce4e5b9ull + id->generation;
}

void store_status_note(struct chunkserver *cs, int status)
{
    if (status == -ERR_TARGET_FAILED)
        heartbeat_fail(cs);
}

/* ---- CRCs of a write as they travel: one per block touched ---- */

/* A block covered in part: its bytes as if the rest were zeros. */
static bool edge_is_good(const struct chunk_id *id, uint32_t block, uint32_t from, uint32_t to,
                         const uint8_t *data, uint32_t crc)
{
    uint8_t page[BLOCK_SIZE];
    memset(page, 0, sizeof page);
    CHECK(data != NULL);
    memcpy(page + from, data, to - from);
    return chunk_block_crc(id, block, page) == crc;
}

int write_crcs_check(const struct chunk_id *id, uint32_t offset, struct slice data,
                     const uint32_t *crcs, uint32_t crc_count)
{
    if (offset > CHUNK_SIZE || data.size > CHUNK_SIZE - offset)
        return -ERR_INVALID;
    uint32_t end = offset + (uint32_t)data.size, at = offset;
    uint32_t first = offset / BLOCK_SIZE, last = (end + BLOCK_SIZE - 1) / BLOCK_SIZE;
    if (crc_count != (data.size ? last - first : 0))
        return -ERR_INVALID;
    while (at < end) {
        uint32_t block = at / BLOCK_SIZE, start = block * BLOCK_SIZE;
        uint32_t to = end - start < BLOCK_SIZE ? end - start : BLOCK_SIZE;
        const uint8_t *bytes = data.data + (at - offset);
        bool whole = at == start && to == BLOCK_SIZE;
        bool good = whole ? chunk_block_crc(id, block, bytes) == crcs[block - first]
                          : edge_is_good(id, block, at - start, to, bytes, crcs[block - first]);
        if (!good)
            return -ERR_CORRUPT;
        at = start + to;
    }
    return 0;
}

/* ---- on a worker ---- */

static int run_write(struct store_action *a)
{
    const struct chain_work *w = &a->item;
    struct slice data = slice_of(w->payload ? w->payload->data : NULL, w->length);
    int status =
        a->checked ? 0 : write_crcs_check(&w->chunk, w->offset, data, a->crcs, a->crc_count);
    if (status != 0)
        return status;
    uint32_t first = w->offset / BLOCK_SIZE;
    uint32_t whole_first = (w->offset + BLOCK_SIZE - 1) / BLOCK_SIZE;
    struct store_write write = {
        .id = w->chunk,
        .shard = w->shard,
        .copies = w->copies,
        .flags = STORE_WRITE_CRCS_CHECKED | (w->create ? STORE_WRITE_CREATE : 0u) |
                 (w->sync ? STORE_WRITE_SYNC : 0u),
        .version = w->version,
        .offset = w->offset,
        .data = data,
        .crcs = a->crcs ? a->crcs + (whole_first - first) : NULL,
    };
    return store_write(a->cs->store, &write, &a->fault);
}

static int run_load(struct store_action *a)
{
    struct store_entry e;
    int status = store_stat(a->cs->store, &a->item.chunk, &e);
    if (status == -ERR_LOST_CHUNK)
        return 0;
    if (status != 0)
        return status;
    a->damaged = (e.flags & STORE_ENTRY_DAMAGED) != 0;
    if (a->damaged && !a->syncing)
        return -ERR_CORRUPT;
    a->action.done.exists = true;
    a->action.done.suspect = (e.flags & STORE_ENTRY_SUSPECT) != 0;
    a->action.done.version = e.version;
    return 0;
}

static int run_read(struct store_action *a, unsigned flags)
{
    const struct chain_work *w = &a->item;
    if (!a->data) {
        a->data = buf_create(w->length);
        a->read_crcs = malloc((w->length / BLOCK_SIZE + 1) * sizeof *a->read_crcs);
        CHECK(a->read_crcs != NULL);
    }
    int status = store_read(a->cs->store, &w->chunk, w->offset, w->length, flags, a->data->data,
                            a->read_crcs, &a->read, &a->fault);
    a->action.done.version = a->read.version;
    return status;
}

/* The blocks of a copy: what lies behind the chunk's end are holes. */
static int run_copy_read(struct store_action *a)
{
    int status = run_read(a, STORE_READ_VERIFY);
    if (status != 0)
        return status;
    for (uint32_t block = a->read.size / BLOCK_SIZE; block < a->item.length / BLOCK_SIZE; block++)
        a->read_crcs[block] = 0;
    memset(a->data->data + a->read.size, 0, a->item.length - a->read.size);
    return 0;
}

static int run_list(struct store_action *a)
{
    const struct chain_work *w = &a->item;
    uint32_t max = w->count_max < LIST_MAX ? w->count_max : LIST_MAX, filled = 0, count = 1;
    struct store_cursor cursor = {
        .last = w->after, .shard = w->shard, .copies = w->copies, .started = true};
    if (w->after.inode == 0 && w->after.index == 0 && w->after.generation == 0)
        cursor = (struct store_cursor){0};
    struct store_entry *rows = calloc(max + 1, sizeof *rows);
    a->entries = calloc(max + 1, sizeof *a->entries);
    a->lengths = calloc(max + 1, sizeof *a->lengths);
    CHECK(rows && a->entries && a->lengths);
    int status = 0;
    while (status == 0 && filled < max && count > 0) {
        status = store_list(a->cs->store, w->copies, w->shard, &cursor, rows + filled, max - filled,
                            &count);
        filled += status == 0 ? count : 0;
    }
    for (uint32_t i = 0; i < filled; i++) {
        a->entries[i] = (struct chain_inventory){
            .id = rows[i].id, .version = rows[i].version, .suspect = rows[i].flags != 0};
        a->lengths[i] = rows[i].length;
    }
    free(rows);
    a->action.done.entries = a->entries;
    a->action.done.entry_count = filled;
    a->action.done.end = count == 0;
    return status;
}

static int run_crcs(struct store_action *a)
{
    const struct chain_work *w = &a->item;
    struct store_entry e;
    int status = store_stat(a->cs->store, &w->chunk, &e);
    if (status == 0 && (e.flags & STORE_ENTRY_DAMAGED) && w->keep) {
        /* The source asks: nothing of a chunk without header can be used, it is copied anew. */
        status = store_delete(a->cs->store, &w->chunk, true);
        return status == -ERR_LOST_CHUNK ? 0 : status;
    }
    if (status == -ERR_LOST_CHUNK)
        return 0;
    if (status != 0)
        return status;
    uint32_t count = 0;
    a->read_crcs = malloc(CHUNK_BLOCK_COUNT * sizeof *a->read_crcs);
    CHECK(a->read_crcs != NULL);
    status = store_crcs(a->cs->store, &w->chunk, a->read_crcs, &count, &a->action.done.version);
    if ((status == -ERR_LOST_CHUNK || status == -ERR_CORRUPT) && w->keep) {
        status = store_delete(a->cs->store, &w->chunk, true);
        return status == -ERR_LOST_CHUNK ? 0 : status;
    }
    /* The index has it, the disk has not: that is a loss, not an empty chunk (D8). */
    if (status == -ERR_LOST_CHUNK)
        status = -ERR_CORRUPT;
    if (status != 0)
        return status;
    a->read.length = e.length;
    a->action.done.exists = true;
    a->action.done.crcs = a->read_crcs;
    a->action.done.crc_count = count;
    return 0;
}

static int run_delete(struct store_action *a)
{
    /* What a resync or an inventory removes is kept for a while (D4); what the metadata dropped is
     * not. */
    int status = store_delete(a->cs->store, &a->item.chunk, a->item.absent);
    return status == -ERR_LOST_CHUNK ? 0 : status;
}

/* Everything of the shard becomes durable. What an earlier process wrote and the kernel still
 * holds is flushed once per start, all of it. */
static int run_sync_shard(struct store_action *a)
{
    struct store_cursor cursor = {0};
    struct store_entry rows[64];
    uint32_t count = 1;
    int status = 0;
    while (status == 0 && count > 0) {
        status = store_list(a->cs->store, a->item.copies, a->item.shard, &cursor, rows, 64, &count);
        for (uint32_t i = 0; status == 0 && i < count; i++) {
            status = store_sync(a->cs->store, &rows[i].id);
            if (status == -ERR_LOST_CHUNK || status == -ERR_CORRUPT)
                status = 0;
        }
    }
    CHECK(pthread_mutex_lock(&a->cs->flush_lock) == 0);
    if (status == 0 && !a->cs->flushed) {
        status = syncfs(a->cs->data_fd) == 0 ? 0 : -ERR_IO;
        a->cs->flushed = status == 0;
    }
    CHECK(pthread_mutex_unlock(&a->cs->flush_lock) == 0);
    return status;
}

/* Runs of blocks and of holes, without a version: the chunk is incomplete until it is finished. */
static int run_resync_write(struct store_action *a)
{
    const struct chain_work *w = &a->item;
    struct store_write write = {
        .id = w->chunk, .shard = w->shard, .copies = w->copies, .flags = STORE_WRITE_CREATE};
    if (a->crc_count != w->length / BLOCK_SIZE || w->payload_size != w->length)
        return -ERR_INVALID;
    int status = store_write(a->cs->store, &write, &a->fault);
    for (uint32_t i = 0, next; i < a->crc_count && status == 0; i = next) {
        bool hole = a->crcs[i] == 0;
        for (next = i + 1; next < a->crc_count && (a->crcs[next] == 0) == hole;)
            next++;
        uint32_t offset = w->offset + i * BLOCK_SIZE, size = (next - i) * BLOCK_SIZE;
        if (hole) {
            status = store_zero(a->cs->store, &w->chunk, (struct chunk_version){0}, offset, size,
                                &a->fault);
            continue;
        }
        write.offset = offset;
        write.data = slice_of(w->payload->data + (size_t)i * BLOCK_SIZE, size);
        write.crcs = a->crcs + i;
        status = store_write(a->cs->store, &write, &a->fault);
    }
    return status;
}

static int run_resync_finish(struct store_action *a)
{
    const struct chain_work *w = &a->item;
    struct store_write create = {
        .id = w->chunk, .shard = w->shard, .copies = w->copies, .flags = STORE_WRITE_CREATE};
    struct store_entry e;
    int status = store_stat(a->cs->store, &w->chunk, &e);
    if (status == -ERR_LOST_CHUNK) {
        status = store_write(a->cs->store, &create, &a->fault);
        e.length = 0;
    }
    if (status == 0 && e.length != w->length)
        status = store_truncate(a->cs->store, &w->chunk, (struct chunk_version){0}, w->length,
                                &a->fault);
    if (status == 0)
        status = store_set_version(a->cs->store, &w->chunk, w->version);
    if (status == 0)
        status = store_sync(a->cs->store, &w->chunk);
    if (status == 0)
        status = store_clear_suspect(a->cs->store, &w->chunk);
    return status;
}

static int run(struct store_action *a)
{
    const struct chain_work *w = &a->item;
    switch (w->kind) {
    case CHAIN_WORK_STORE_WRITE:
        return run_write(a);
    case CHAIN_WORK_STORE_TRUNCATE:
        return store_truncate(a->cs->store, &w->chunk, w->version, w->length, &a->fault);
    case CHAIN_WORK_STORE_ZERO:
        return store_zero(a->cs->store, &w->chunk, w->version, w->offset, w->length, &a->fault);
    case CHAIN_WORK_STORE_SYNC:
        return store_sync(a->cs->store, &w->chunk);
    case CHAIN_WORK_STORE_DELETE:
        return run_delete(a);
    case CHAIN_WORK_STORE_LOAD:
        return run_load(a);
    case CHAIN_WORK_STORE_READ:
        return run_read(a, w->verify ? STORE_READ_VERIFY : 0);
    case CHAIN_WORK_STORE_LIST:
        return run_list(a);
    case CHAIN_WORK_STORE_CRCS:
        return run_crcs(a);
    case CHAIN_WORK_STORE_SYNC_SHARD:
        return run_sync_shard(a);
    case CHAIN_WORK_STORE_RESYNC_WRITE:
        return run_resync_write(a);
    case CHAIN_WORK_STORE_RESYNC_FINISH:
        return run_resync_finish(a);
    case CHAIN_WORK_RESYNC_COPY:
        return run_copy_read(a);
    default:
        UNREACHABLE("store action %d", (int)w->kind);
    }
}

/* ---- on the loop ---- */

bool store_action_is_ours(enum chain_work_kind kind)
{
    return kind >= CHAIN_WORK_STORE_WRITE && kind <= CHAIN_WORK_RESYNC_COPY &&
           kind != CHAIN_WORK_STORE_RESOLVE && kind != CHAIN_WORK_STORE_REPAIR &&
           kind != CHAIN_WORK_FORWARD && kind != CHAIN_WORK_RESYNC_INVENTORY &&
           kind != CHAIN_WORK_RESYNC_CRCS;
}

static void action_free(struct action *take_action)
{
    struct store_action *a = CONTAINER_OF(take_action, struct store_action, action);
    buf_unref(a->item.payload);
    buf_unref(a->data);
    free(a->crcs);
    free(a->read_crcs);
    free(a->entries);
    free(a->lengths);
    free(a);
}

/* An in-sync copy whose header is lost leaves the chain and comes back through a resync, as long
 * as others have the chunk. */
static void lost_header(struct chunkserver *cs, const struct store_action *a)
{
    const struct chain_work *w = &a->item;
    char chunk[CHUNK_ID_TEXT_SIZE];
    chunk_id_format(&w->chunk, chunk);
    log_error("chunk.lost_header", "chunk=%s shard=%u-%x", chunk, w->copies, w->shard);
    if (table_other_insync(cs, w->copies, w->shard) == 0)
        return;
    struct msg_shard_report m = {.copies = w->copies,
                                 .shard = w->shard,
                                 .epoch = w->epoch,
                                 .target = cs->target,
                                 .kind = REPORT_OUT_OF_SYNC,
                                 .reporter = cs->target};
    report_send(cs, &m);
}

static void finished(struct store_action *a, int status)
{
    struct chunkserver *cs = a->cs;
    a->action.done.status = status;
    store_status_note(cs, status);
    if (cs->closing) {
        action_free(&a->action);
        return;
    }
    if (status == -ERR_CORRUPT && a->damaged)
        lost_header(cs, a);
    else if (status == -ERR_CORRUPT) {
        char chunk[CHUNK_ID_TEXT_SIZE];
        chunk_id_format(&a->item.chunk, chunk);
        log_warn("chunk.corrupt", "chunk=%s block=%u suspect=%d header=%d", chunk, a->fault.block,
                 a->fault.suspect, a->fault.header);
    }
    if (a->item.kind == CHAIN_WORK_RESYNC_COPY && status == 0)
        peers_send_blocks(a);
    else
        driver_done(cs, &a->action);
}

static void on_worker(struct work *work)
{
    work->status = run(CONTAINER_OF(work, struct store_action, work));
}

static void on_loop(struct work *work)
{
    finished(CONTAINER_OF(work, struct store_action, work), work->status);
}

static struct store_action *action_create(struct chunkserver *cs, const struct chain_work *item)
{
    struct store_action *a = calloc(1, sizeof *a);
    CHECK(a != NULL);
    list_init(&a->action.node);
    a->cs = cs;
    a->item = *item;
    a->item.payload = item->payload ? buf_ref(item->payload) : NULL;
    a->item.crcs = (struct slice){0};
    a->crc_count = (uint32_t)(item->crcs.size / sizeof *a->crcs);
    if (a->crc_count) {
        a->crcs = malloc(a->crc_count * sizeof *a->crcs);
        CHECK(a->crcs != NULL);
        memcpy(a->crcs, item->crcs.data, a->crc_count * sizeof *a->crcs);
    }
    a->action.done.id = item->id;
    a->action.keep = item->keep;
    a->action.release = action_free;
    a->work = (struct work){.run = on_worker, .done = on_loop};
    return a;
}

static bool changes_chunk(enum chain_work_kind kind)
{
    return kind == CHAIN_WORK_STORE_WRITE || kind == CHAIN_WORK_STORE_TRUNCATE ||
           kind == CHAIN_WORK_STORE_ZERO || kind == CHAIN_WORK_STORE_DELETE ||
           kind == CHAIN_WORK_STORE_RESYNC_WRITE || kind == CHAIN_WORK_STORE_RESYNC_FINISH;
}

void store_action_start(struct chunkserver *cs, const struct chain_work *item)
{
    struct store_action *a = action_create(cs, item);
    if (item->kind == CHAIN_WORK_STORE_WRITE && item->payload)
        a->checked = map_get(&cs->driver.checked, (uint64_t)(uintptr_t)item->payload) != NULL;
    if (item->kind == CHAIN_WORK_STORE_LOAD)
        a->syncing = !table_self_is_insync(cs, item->copies, item->shard);
    if (item->kind == CHAIN_WORK_STORE_READ && !item->verify && item->length <= NOWAIT_SIZE_MAX) {
        int status = run_read(a, STORE_READ_NOWAIT);
        if (status != -ERR_BUSY) {
            finished(a, status);
            return;
        }
    }
    int status = changes_chunk(item->kind)
                     ? work_submit_ordered(cs->pool, chunk_strand(&item->chunk), &a->work)
                     : work_submit(cs->pool, &a->work);
    if (status != 0)
        finished(a, -ERR_BUSY);
}
