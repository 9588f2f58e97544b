/* Chunkservers and their targets as tables and JSON. */
#include "tools/server_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/health.h"
#include "tools/json.h"
#include "tools/text.h"

#include "common/base/banned.h"

enum { CELL_SIZE = 4 * TEXT_SIZE };

static void slice_text(struct slice s, char ret_text[CELL_SIZE])
{
    (void)snprintf(ret_text, CELL_SIZE, "%.*s", s.size > 60 ? 60 : (int)s.size,
                   s.size ? (const char *)s.data : "");
}

/* "1.8/4.0 TiB 45%" needs both in one unit; sizes differ too much for that. */
static void used_text(const struct rec_target_status *t, char ret_text[CELL_SIZE])
{
    char used[TEXT_SIZE], total[TEXT_SIZE];
    unsigned percent =
        t->bytes_total ? (unsigned)((double)t->bytes_used * 100 / (double)t->bytes_total) : 0;
    (void)snprintf(ret_text, CELL_SIZE, "%s/%s %u%%", text_bytes(t->bytes_used, used),
                   text_bytes(t->bytes_total, total), percent);
}

/* "0.3 s", "3m00s (27m00s left)", "never" */
static void heard_text(const struct rec_target_status *t, char ret_text[CELL_SIZE])
{
    char heard[TEXT_SIZE] = "never", left[TEXT_SIZE];
    if (t->heard_ms != UINT32_MAX)
        (void)text_duration(t->heard_ms, heard);
    if (t->admin == TARGET_MAINTENANCE && t->admin_left_ms > 0)
        (void)snprintf(ret_text, CELL_SIZE, "%s (%s left)", heard,
                       text_duration(t->admin_left_ms, left));
    else
        (void)snprintf(ret_text, CELL_SIZE, "%s", heard);
}

static void weight_text(uint32_t weight, char ret_text[CELL_SIZE])
{
    (void)snprintf(ret_text, CELL_SIZE, "%u.%02u", weight / 1000, weight % 1000 / 10);
}

static void count_text(uint64_t number, char ret_text[CELL_SIZE])
{
    char text[TEXT_SIZE];
    (void)snprintf(ret_text, CELL_SIZE, "%s", text_count(number, text));
}

static void size_text(uint64_t bytes, char ret_text[CELL_SIZE])
{
    char text[TEXT_SIZE];
    (void)snprintf(ret_text, CELL_SIZE, "%s", text_bytes(bytes, text));
}

static void add_cells(struct text_table *table, char (*cells)[CELL_SIZE])
{
    const char *row[TABLE_COLUMNS_MAX];
    for (unsigned i = 0; i < table->columns; i++)
        row[i] = cells[i];
    text_table_row(table, row);
}

void servers_print(const struct msg_status_r *s)
{
    static const char *const head[] = {"ID",        "ADDRESS", "ZONE",  "STATE", "DISKS",
                                       "USED/SIZE", "CHUNKS",  "BYTES", "RING",  "HEARD"};
    struct text_table table;
    unsigned count;
    struct server_row *rows = servers_of(s, &count);
    text_table_init(&table, sizeof head / sizeof head[0]);
    text_table_row(&table, head);
    for (unsigned i = 0; i < count; i++) {
        const struct rec_target_status *sum = &rows[i].sum;
        char cell[sizeof head / sizeof head[0]][CELL_SIZE];
        (void)snprintf(cell[0], CELL_SIZE, "%s", rows[i].name);
        slice_text(sum->address, cell[1]);
        (void)snprintf(cell[2], CELL_SIZE, "%s", rows[i].zone);
        (void)snprintf(cell[3], CELL_SIZE, "%s", rows[i].condition);
        (void)snprintf(cell[4], CELL_SIZE, "%u/%u", rows[i].targets_up, rows[i].targets);
        used_text(sum, cell[5]);
        count_text(sum->chunk_count, cell[6]);
        size_text(sum->chunk_bytes, cell[7]);
        weight_text(sum->weight, cell[8]);
        heard_text(sum, cell[9]);
        add_cells(&table, cell);
    }
    text_table_print(&table);
    text_table_release(&table);
    free(rows);
}

void targets_print(const struct msg_status_r *s)
{
    static const char *const head[] = {"ID",     "HOST",    "STATE",      "SLOTS",    "IN-SYNC",
                                       "MOVING", "BLOCKED", "USED/SIZE",  "CHUNKS",   "BYTES",
                                       "RING",   "RESYNC",  "CRC-ERRORS", "REPAIRED", "HEARD"};
    struct text_table table;
    struct slice cursor = s->targets.raw;
    struct rec_target_status t;
    text_table_init(&table, sizeof head / sizeof head[0]);
    text_table_row(&table, head);
    while (rec_target_status_next(&cursor, &t)) {
        char cell[sizeof head / sizeof head[0]][CELL_SIZE];
        slice_text(t.name, cell[0]);
        slice_text(t.host.size ? t.host : slice_str("-"), cell[1]);
        (void)snprintf(cell[2], CELL_SIZE, "%s", target_condition(&t));
        count_text(t.slots, cell[3]);
        count_text(t.slots_in_sync, cell[4]);
        count_text(t.slots_moving, cell[5]);
        count_text(t.slots_blocked, cell[6]);
        used_text(&t, cell[7]);
        count_text(t.chunk_count, cell[8]);
        size_text(t.chunk_bytes, cell[9]);
        weight_text(t.weight, cell[10]);
        size_text(t.resync_bytes, cell[11]);
        count_text(t.crc_errors, cell[12]);
        count_text(t.blocks_repaired, cell[13]);
        heard_text(&t, cell[14]);
        add_cells(&table, cell);
    }
    text_table_print(&table);
    text_table_release(&table);
}

static json_t *numbers_json(const struct rec_target_status *t)
{
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
#define FIELD(name, field) {name, offsetof(struct rec_target_status, field)}
        FIELD("bytes_total", bytes_total),
        FIELD("bytes_used", bytes_used),
        FIELD("chunks", chunk_count),
        FIELD("chunk_bytes", chunk_bytes),
        FIELD("left_bytes", left_bytes),
        FIELD("read_bytes", read_bytes),
        FIELD("write_bytes", write_bytes),
        FIELD("resync_bytes", resync_bytes),
        FIELD("resync_chunks", resync_chunks),
        FIELD("crc_errors", crc_errors),
        FIELD("blocks_repaired", blocks_repaired),
#undef FIELD
    };
    json_t *row = json_object();
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        uint64_t number;
        memcpy(&number, (const char *)t + fields[i].offset, sizeof number);
        json_object_set_new(row, fields[i].name, json_of_number(number));
    }
    json_object_set_new(row, "slots", json_of_number(t->slots));
    json_object_set_new(row, "slots_in_sync", json_of_number(t->slots_in_sync));
    json_object_set_new(row, "slots_moving", json_of_number(t->slots_moving));
    json_object_set_new(row, "slots_blocked", json_of_number(t->slots_blocked));
    json_object_set_new(row, "weight", json_of_number(t->weight));
    json_object_set_new(row, "heard_ms",
                        t->heard_ms == UINT32_MAX ? json_null() : json_of_number(t->heard_ms));
    return row;
}

static json_t *row_json(const struct server_row *server)
{
    const struct rec_target_status *t = &server->sum;
    json_t *row = json_object();
    json_object_set_new(row, "id", json_string(server->name));
    json_object_set_new(row, "address", json_of_slice(t->address));
    json_object_set_new(row, "host", json_of_slice(t->host));
    json_object_set_new(row, "zone",
                        server->zone[0] == '-' ? json_null() : json_string(server->zone));
    json_object_set_new(row, "state", json_string(target_state_name(t->state)));
    json_object_set_new(row, "admin", json_string(target_admin_name(t->admin)));
    json_object_set_new(row, "condition", json_string(server->condition));
    json_object_set_new(row, "maintenance_left_ms",
                        t->admin == TARGET_MAINTENANCE && t->admin_left_ms
                            ? json_of_number(t->admin_left_ms)
                            : json_null());
    json_object_update_new(row, numbers_json(t));
    return row;
}

json_t *targets_json(const struct msg_status_r *s)
{
    json_t *list = json_array();
    struct slice cursor = s->targets.raw;
    struct rec_target_status t;
    while (rec_target_status_next(&cursor, &t)) {
        struct server_row row = server_of_target(&t);
        json_array_append_new(list, row_json(&row));
    }
    return list;
}

json_t *servers_json(const struct msg_status_r *s)
{
    json_t *list = json_array();
    unsigned count;
    struct server_row *rows = servers_of(s, &count);
    for (unsigned i = 0; i < count; i++) {
        json_t *row = row_json(&rows[i]);
        json_object_set_new(row, "disks", json_integer((json_int_t)rows[i].targets));
        json_object_set_new(row, "disks_up", json_integer((json_int_t)rows[i].targets_up));
        json_array_append_new(list, row);
    }
    free(rows);
    return list;
}
