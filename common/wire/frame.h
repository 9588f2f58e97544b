/* Frames: header of 48 bytes, body (a message), payload (bulk data). Pure; any thread.
 *
 *   at size field
 *    0  4   magic "CRN1"
 *    4  1   protocol version of the sender
 *    5  1   flags, zero
 *    6  2   message code
 *    8  8   request id; a reply carries the request's; 0 = no reply is wanted
 *   16  4   body size
 *   20  4   payload size
 *   24  2   status of a reply: 0 or a wire error number
 *   26  6   zero, checked
 *   32  8   version of the sender's shard table, 0 when it has none
 *   40  4   crc of the body
 *   44  4   crc of the 44 bytes before it
 * The payload has no crc here: the block crcs in the body cover it from end to end. */
#ifndef CAIRN_WIRE_FRAME_H
#define CAIRN_WIRE_FRAME_H

#include "common/base/slice.h"

enum {
    FRAME_HEADER_SIZE = 48,
    FRAME_BODY_MAX = 8 << 20,
    FRAME_PAYLOAD_MAX = (4 << 20) + 65536,
};

struct frame_header {
    uint8_t version;
    uint16_t code;
    uint64_t request_id;
    uint32_t body_size, payload_size;
    uint16_t status;
    uint64_t table_version;
    uint32_t body_crc;
};

void frame_pack(const struct frame_header *h, uint8_t ret_bytes[FRAME_HEADER_SIZE]);
/* -ERR_PROTOCOL for a bad magic, crc, size over the maximum or a non-zero reserved byte. */
int frame_unpack(const uint8_t bytes[FRAME_HEADER_SIZE], struct frame_header *ret_header);
uint32_t frame_body_crc(struct slice body);

#endif
