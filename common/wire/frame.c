/* Frame headers. */
#include "common/wire/frame.h"

#include "common/base/checksum.h"
#include "common/base/err.h"
#include "common/wire/prim.h"

static const uint8_t magic[4] = {'C', 'R', 'N', '1'};

void frame_pack(const struct frame_header *h, uint8_t b[FRAME_HEADER_SIZE])
{
    memset(b, 0, FRAME_HEADER_SIZE);
    memcpy(b, magic, sizeof magic);
    b[4] = h->version;
    store_u16(b + 6, h->code);
    store_u64(b + 8, h->request_id);
    store_u32(b + 16, h->body_size);
    store_u32(b + 20, h->payload_size);
    store_u16(b + 24, h->status);
    store_u64(b + 32, h->table_version);
    store_u32(b + 40, h->body_crc);
    store_u32(b + 44, checksum_crc32(0, b, 44));
}

int frame_unpack(const uint8_t b[FRAME_HEADER_SIZE], struct frame_header *ret_header)
{
    static const uint8_t zeros[6];
    if (memcmp(b, magic, sizeof magic) != 0 || load_u32(b + 44) != checksum_crc32(0, b, 44))
        return -ERR_PROTOCOL;
    struct frame_header h = {
        .version = b[4],
        .code = load_u16(b + 6),
        .request_id = load_u64(b + 8),
        .body_size = load_u32(b + 16),
        .payload_size = load_u32(b + 20),
        .status = load_u16(b + 24),
        .table_version = load_u64(b + 32),
        .body_crc = load_u32(b + 40),
    };
    if (h.version == 0 || b[5] != 0 || memcmp(b + 26, zeros, sizeof zeros) != 0)
        return -ERR_PROTOCOL;
    if (h.body_size > FRAME_BODY_MAX || h.payload_size > FRAME_PAYLOAD_MAX)
        return -ERR_PROTOCOL;
    *ret_header = h;
    return 0;
}

uint32_t frame_body_crc(struct slice body)
{
    return body.size ? checksum_crc32(0, body.data, body.size) : 0;
}
