/* Histories as text, and the report. */
#include "tests/history/history.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

static const char *const kind_names[] = {
#define X(name, text) text,
    HISTORY_KINDS(X)
#undef X
};

const char *history_kind_name(enum history_kind kind)
{
    return kind < HISTORY_KIND_COUNT ? kind_names[kind] : "?";
}

void history_add(struct history *h, const struct history_op *op)
{
    if (h->count == h->capacity) {
        h->capacity = h->capacity ? h->capacity * 2 : 1024;
        h->ops = realloc(h->ops, h->capacity * sizeof *h->ops);
        CHECK(h->ops != NULL);
    }
    h->ops[h->count++] = *op;
}

void history_release(struct history *h)
{
    free(h->ops);
    *h = (struct history){0};
}

void history_say(char report[], const char *format, ...)
{
    size_t used = strlen(report);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(report + used, HISTORY_REPORT_SIZE - used, format, arguments);
    va_end(arguments);
}

/* ---- writing ---- */

static void write_seen(FILE *file, const struct history_seen *seen)
{
    (void)fprintf(file, "[%llu,%llu,%u,%u,%u,%d]", (unsigned long long)seen->inode,
                  (unsigned long long)seen->version, seen->tag, seen->value, seen->nlink,
                  seen->is_directory);
}

void history_write(FILE *file, const struct history_op *op)
{
    (void)fprintf(file,
                  "{\"client\":%u,\"group\":%u,\"op\":\"%s\",\"slot\":%u,\"slot2\":%u,"
                  "\"flags\":%u,\"inode\":%llu,\"value\":%u,\"invoke\":%lld,",
                  op->client, op->group, history_kind_name(op->kind), op->slot, op->slot2,
                  op->flags, (unsigned long long)op->inode, op->value, (long long)op->invoke_ns);
    if (history_unknown(op)) {
        (void)fprintf(file, "\"unknown\":%d}\n", op->status);
        return;
    }
    (void)fprintf(file, "\"return\":%lld,\"status\":%d,\"seen\":[", (long long)op->return_ns,
                  op->status);
    for (unsigned i = 0; op->status == 0 && i < HISTORY_SLOTS; i++) {
        if (op->kind != HISTORY_LIST && i > 0)
            break;
        (void)fprintf(file, "%s", i ? "," : "");
        write_seen(file, op->kind == HISTORY_LIST ? &op->listed[i] : &op->seen);
    }
    (void)fprintf(file, "]}\n");
}

/* ---- reading ---- */

static bool read_seen(const json_t *from, struct history_seen *ret)
{
    json_int_t v[6];
    for (size_t i = 0; i < 6; i++) {
        if (!json_is_integer(json_array_get(from, i)))
            return false;
        v[i] = json_integer_value(json_array_get(from, i));
    }
    *ret = (struct history_seen){(uint64_t)v[0], (uint64_t)v[1], (uint32_t)v[2],
                                 (uint32_t)v[3], (uint32_t)v[4], v[5] != 0};
    return true;
}

static bool read_op(const json_t *line, struct history_op *op)
{
    const json_t *back = json_object_get(line, "return"), *seen = json_object_get(line, "seen");
    const char *kind = json_string_value(json_object_get(line, "op"));
    *op = (struct history_op){.return_ns = INT64_MAX, .kind = HISTORY_KIND_COUNT};
    for (unsigned i = 0; kind && i < HISTORY_KIND_COUNT; i++)
        if (strcmp(kind, kind_names[i]) == 0)
            op->kind = (enum history_kind)i;
#define NUMBER(type, name) (type) json_integer_value(json_object_get(line, name))
    op->client = NUMBER(uint32_t, "client");
    op->group = NUMBER(uint32_t, "group");
    op->slot = NUMBER(uint32_t, "slot");
    op->slot2 = NUMBER(uint32_t, "slot2");
    op->flags = NUMBER(uint32_t, "flags");
    op->inode = NUMBER(uint64_t, "inode");
    op->value = NUMBER(uint32_t, "value");
    op->invoke_ns = NUMBER(int64_t, "invoke");
    if (op->kind == HISTORY_KIND_COUNT || op->slot >= HISTORY_SLOTS || op->slot2 >= HISTORY_SLOTS)
        return false;
    if (!back)
        return json_is_integer(json_object_get(line, "unknown"));
    op->return_ns = NUMBER(int64_t, "return");
    op->status = NUMBER(int, "status");
#undef NUMBER
    if (op->status != 0)
        return true;
    for (unsigned i = 0; op->kind == HISTORY_LIST && i < HISTORY_SLOTS; i++)
        if (!read_seen(json_array_get(seen, i), &op->listed[i]))
            return false;
    return op->kind == HISTORY_LIST || read_seen(json_array_get(seen, 0), &op->seen);
}

int history_read(FILE *file, struct history *ret_history, struct err_text *why)
{
    char line[4096];
    for (unsigned number = 1; fgets(line, sizeof line, file); number++) {
        struct history_op op;
        json_t *parsed = json_loads(line, 0, NULL);
        bool good = parsed && read_op(parsed, &op);
        json_decref(parsed);
        if (!good)
            return err_set(ERR_CORRUPT, why, "line %u is not an operation", number);
        history_add(ret_history, &op);
    }
    return 0;
}

/* ---- for people ---- */

static size_t put(char *text, size_t size, size_t used, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static size_t put(char *text, size_t size, size_t used, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = used < size ? vsnprintf(text + used, size - used, format, arguments) : 0;
    va_end(arguments);
    return used + (length > 0 ? (size_t)length : 0);
}

static size_t put_seen(char *text, size_t size, size_t used, const struct history_seen *seen)
{
    return put(text, size, used, " inode %llu tag %u value %u links %u%s",
               (unsigned long long)seen->inode, seen->tag, seen->value, seen->nlink,
               seen->is_directory ? " directory" : "");
}

void history_format(const struct history_op *op, int64_t start_ns, char *ret_text, size_t size)
{
    size_t used = put(ret_text, size, 0, "%.0f", (double)(op->invoke_ns - start_ns) / 1000);
    if (history_unknown(op))
        used = put(ret_text, size, used, "..?");
    else
        used = put(ret_text, size, used, "..%.0f", (double)(op->return_ns - start_ns) / 1000);
    used = put(ret_text, size, used, " us c%u %s n%u", op->client, history_kind_name(op->kind),
               op->slot);
    if (op->kind == HISTORY_RENAME)
        used = put(ret_text, size, used, " to n%u flags %u", op->slot2, op->flags);
    if (op->inode)
        used = put(ret_text, size, used, " of inode %llu", (unsigned long long)op->inode);
    if (op->value)
        used = put(ret_text, size, used, " with %u", op->value);
    if (history_unknown(op)) {
        (void)put(ret_text, size, used, " -> unknown");
        return;
    }
    used = put(ret_text, size, used, " ->");
    if (op->status != 0)
        used = put(ret_text, size, used, " %s", err_name(op->status));
    else if (op->kind != HISTORY_LIST)
        used = put_seen(ret_text, size, used, &op->seen);
    for (unsigned i = 0; op->status == 0 && op->kind == HISTORY_LIST && i < HISTORY_SLOTS; i++)
        if (op->listed[i].inode) {
            used = put(ret_text, size, used, " n%u", i);
            used = put_seen(ret_text, size, used, &op->listed[i]);
        }
}
