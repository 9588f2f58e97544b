/* Structs, codec and names of every message, generated from messages.tbl. Pure; any thread.
 *
 *   struct msg_NAME                          the decoded message
 *   void encode_NAME(out, const msg *)       appends the body
 *   int decode_NAME(body, version, ret_msg)  0 or -ERR_PROTOCOL; strings and lists borrow the body
 *   struct rec_NAME, rec_NAME_next           records of lists */
#ifndef CAIRN_WIRE_CODEC_H
#define CAIRN_WIRE_CODEC_H

#include "common/wire/prim.h"

#define RECORD(name)                       struct rec_##name {
#define MSG(code, name, served_by, repeat) struct msg_##name {
#define FIELD(type, name, since)           wire_##type name;
#define LIST(record, name, since)          struct wire_list name;
#define END(name)   \
    char no_field_; \
    }               \
    ;
#include "common/wire/messages.tbl"
#undef RECORD
#undef MSG
#undef FIELD
#undef LIST
#undef END

enum msg_code {
#define RECORD(name)
#define MSG(code, name, served_by, repeat) MSG_##name = code,
#define FIELD(type, name, since)
#define LIST(record, name, since)
#define END(name)
#include "common/wire/messages.tbl"
#undef RECORD
#undef MSG
};

/* Walks a decoded list: `*cursor` starts as list->raw; false at the end. */
#define RECORD(name)                                                      \
    bool rec_##name##_next(struct slice *cursor, struct rec_##name *ret); \
    void put_rec_##name(struct bytes *out, const struct rec_##name *record);
#define MSG(code, name, served_by, repeat)                             \
    void encode_##name(struct bytes *out, const struct msg_##name *m); \
    int decode_##name(struct slice body, unsigned version, struct msg_##name *ret);
#include "common/wire/messages.tbl"
#undef RECORD
#undef MSG
#undef FIELD
#undef LIST
#undef END

enum msg_served_by {
    SERVED_BY_ANY,
    SERVED_BY_META,
    SERVED_BY_CHUNK,
    SERVED_BY_RAFT,
    SERVED_BY_REPLY,
    SERVED_BY_LOG
};

/* NULL / false for an unknown code. */
const char *msg_name(uint16_t code);
bool msg_is_known(uint16_t code);
enum msg_served_by msg_served_by(uint16_t code);
bool msg_may_repeat(uint16_t code);
/* Decodes and forgets: 0 or -ERR_PROTOCOL, -ERR_NOT_SUPPORTED for an unknown code. */
int msg_validate(uint16_t code, struct slice body, unsigned version);
/* Decodes and encodes again into `out`: for round-trip tests and fuzzing. */
int msg_reencode(uint16_t code, struct slice body, unsigned version, struct bytes *out);
/* Iterates over all codes: pass 0 first; 0 at the end. */
uint16_t msg_next_code(uint16_t code);

#endif
