/* Codec generated from messages.tbl: the table is included once per pass. */
#include "common/wire/codec.h"

#include "common/base/check.h"
#include "common/base/err.h"

/* ---- pass 1: one encoder and one decoder per record, with the type erased for lists ---- */

#define FIELD(type, name, since)
#define LIST(record, name, since)
#define END(name)
#define MSG(code, name, served_by, repeat)
#define RECORD(name)                                                                  \
    static void put_any_##name(struct bytes *out, const void *items, uint32_t index); \
    static bool skip_##name(struct wire_in *in);
#include "common/wire/messages.tbl"
#undef FIELD
#undef LIST
#undef END
#undef MSG
#undef RECORD

/* ---- lists ---- */

typedef void put_any_fn(struct bytes *out, const void *items, uint32_t index);
typedef bool skip_fn(struct wire_in *in);

static void put_list(struct bytes *out, const struct wire_list *list, put_any_fn *put_any)
{
    CHECK(list->count <= LIST_COUNT_MAX);
    put_u32(out, list->count);
    if (list->items) {
        for (uint32_t i = 0; i < list->count; i++)
            put_any(out, list->items, i);
    } else {
        bytes_append(out, list->raw.data, list->raw.size);
    }
}

static bool get_list(struct wire_in *in, struct wire_list *ret, skip_fn *skip)
{
    uint32_t count;
    if (!get_u32(in, &count) || count > LIST_COUNT_MAX)
        return false;
    const uint8_t *start = in->at;
    for (uint32_t i = 0; i < count; i++)
        if (!skip(in))
            return false;
    *ret = (struct wire_list){.count = count, .raw = slice_of(start, (size_t)(in->at - start))};
    return true;
}

/* ---- pass 2: encoders of records and messages ---- */

#define RECORD(name)                                                   \
    void put_rec_##name(struct bytes *out, const struct rec_##name *m) \
    {
#define MSG(code, name, served_by, repeat)                            \
    void encode_##name(struct bytes *out, const struct msg_##name *m) \
    {
#define FIELD(type, name, since)  put_##type(out, m->name);
#define LIST(record, name, since) put_list(out, &m->name, put_any_##record);
#define END(name) \
    (void)out;    \
    (void)m;      \
    }
#include "common/wire/messages.tbl"
#undef RECORD
#undef MSG
#undef FIELD
#undef LIST
#undef END

/* ---- pass 3: decoders; a field newer than the sender's version stays zero ---- */

#define RECORD(name)                                                            \
    static bool get_fields_rec_##name(struct wire_in *in, struct rec_##name *m) \
    {
#define MSG(code, name, served_by, repeat)                                      \
    static bool get_fields_msg_##name(struct wire_in *in, struct msg_##name *m) \
    {
#define FIELD(type, name, since)                             \
    if (in->version >= (since) && !get_##type(in, &m->name)) \
        return false;
#define LIST(record, name, since)                                         \
    if (in->version >= (since) && !get_list(in, &m->name, skip_##record)) \
        return false;
#define END(name)             \
    m->no_field_ = 0;         \
    return in->at <= in->end; \
    }
#include "common/wire/messages.tbl"
#undef RECORD
#undef MSG
#undef FIELD
#undef LIST
#undef END

/* ---- pass 4: what is public ---- */

#define FIELD(type, name, since)
#define LIST(record, name, since)
#define END(name)
#define RECORD(name)                                                                   \
    static void put_any_##name(struct bytes *out, const void *items, uint32_t index)   \
    {                                                                                  \
        put_rec_##name(out, (const struct rec_##name *)items + index);                 \
    }                                                                                  \
    static bool skip_##name(struct wire_in *in)                                        \
    {                                                                                  \
        struct rec_##name record = {0};                                                \
        return get_fields_rec_##name(in, &record);                                     \
    }                                                                                  \
    bool rec_##name##_next(struct slice *cursor, struct rec_##name *ret)               \
    {                                                                                  \
        struct wire_in in = {cursor->data, cursor->data + cursor->size, WIRE_VERSION}; \
        struct rec_##name record = {0};                                                \
        if (cursor->size == 0 || !get_fields_rec_##name(&in, &record))                 \
            return false;                                                              \
        *cursor = slice_of(in.at, (size_t)(in.end - in.at));                           \
        *ret = record;                                                                 \
        return true;                                                                   \
    }
#define MSG(code, name, served_by, repeat)                                             \
    int decode_##name(struct slice body, unsigned version, struct msg_##name *ret)     \
    {                                                                                  \
        struct wire_in in = {body.data, body.data + body.size, version};               \
        struct msg_##name m = {0};                                                     \
        if (!get_fields_msg_##name(&in, &m))                                           \
            return -ERR_PROTOCOL;                                                      \
        if (in.at != in.end && version <= WIRE_VERSION)                                \
            return -ERR_PROTOCOL; /* a newer peer may append fields, nobody else */    \
        *ret = m;                                                                      \
        return 0;                                                                      \
    }                                                                                  \
    static int reencode_##name(struct slice body, unsigned version, struct bytes *out) \
    {                                                                                  \
        struct msg_##name m;                                                           \
        int status = decode_##name(body, version, &m);                                 \
        if (status == 0 && out)                                                        \
            encode_##name(out, &m);                                                    \
        return status;                                                                 \
    }
#include "common/wire/messages.tbl"
#undef RECORD
#undef MSG

/* ---- pass 5: the table of messages ---- */

struct row {
    uint16_t code;
    const char *name;
    enum msg_served_by served_by;
    bool may_repeat;
    int (*reencode)(struct slice body, unsigned version, struct bytes *out);
};

enum { REPEAT_SAFE = true, REPEAT_ONCE = false };

static const struct row rows[] = {
#define RECORD(name)
#define MSG(code, name, served_by, repeat) \
    {code, #name, SERVED_BY_##served_by, REPEAT_##repeat, reencode_##name},
#include "common/wire/messages.tbl"
#undef RECORD
#undef MSG
#undef FIELD
#undef LIST
#undef END
};

enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

/* The table stands in ascending order of codes (checked by a test). */
static const struct row *row_of(uint16_t code)
{
    unsigned low = 0, high = ROW_COUNT;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (rows[middle].code == code)
            return &rows[middle];
        if (rows[middle].code < code)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const char *msg_name(uint16_t code)
{
    const struct row *row = row_of(code);
    return row ? row->name : NULL;
}

bool msg_is_known(uint16_t code)
{
    return row_of(code) != NULL;
}

enum msg_served_by msg_served_by(uint16_t code)
{
    const struct row *row = row_of(code);
    return row ? row->served_by : SERVED_BY_REPLY;
}

bool msg_may_repeat(uint16_t code)
{
    const struct row *row = row_of(code);
    return row && row->may_repeat;
}

int msg_reencode(uint16_t code, struct slice body, unsigned version, struct bytes *out)
{
    const struct row *row = row_of(code);
    return row ? row->reencode(body, version, out) : -ERR_NOT_SUPPORTED;
}

int msg_validate(uint16_t code, struct slice body, unsigned version)
{
    return msg_reencode(code, body, version, NULL);
}

uint16_t msg_next_code(uint16_t code)
{
    for (unsigned i = 0; i < ROW_COUNT; i++)
        if (rows[i].code > code)
            return rows[i].code;
    return 0;
}
