/* The configuration as a value: its order, its bytes. */
#include "metaserver/raft/raft_state.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/checksum.h"
#include "common/base/banned.h"

enum { VERSION = 1, HEAD_BYTES = 2, SERVER_BYTES = 6, CRC_BYTES = 4 };

int raft_config_add(struct raft_config *config, uint32_t id, bool voter, struct slice address)
{
    if (id == 0 || address.size > RAFT_ADDRESS_MAX || raft_config_find(config, id))
        return -ERR_INVALID;
    unsigned voters = raft_config_voters(config);
    if (voter ? voters >= RAFT_VOTERS_MAX : config->count - voters >= RAFT_LEARNERS_MAX)
        return -ERR_LIMIT;
    unsigned at = config->count++;
    for (; at > 0 && config->servers[at - 1].id > id; at--)
        config->servers[at] = config->servers[at - 1];
    struct raft_server *server = &config->servers[at];
    *server = (struct raft_server){.id = id, .voter = voter, .address_size = (uint8_t)address.size};
    if (address.size > 0)
        memcpy(server->address, address.data, address.size);
    return 0;
}

const struct raft_server *raft_config_find(const struct raft_config *config, uint32_t id)
{
    for (unsigned i = 0; i < config->count; i++)
        if (config->servers[i].id == id)
            return &config->servers[i];
    return NULL;
}

unsigned raft_config_voters(const struct raft_config *config)
{
    unsigned voters = 0;
    for (unsigned i = 0; i < config->count; i++)
        voters += config->servers[i].voter;
    return voters;
}

bool raft_config_equal(const struct raft_config *a, const struct raft_config *b)
{
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++) {
        const struct raft_server *x = &a->servers[i], *y = &b->servers[i];
        if (x->id != y->id || x->voter != y->voter ||
            !slice_equal(slice_of(x->address, x->address_size),
                         slice_of(y->address, y->address_size)))
            return false;
    }
    return true;
}

static uint8_t *put_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

size_t raft_config_encode(const struct raft_config *config, uint8_t ret[RAFT_CONFIG_BYTES_MAX])
{
    uint8_t *at = ret;
    CHECK(config->count <= RAFT_MEMBERS_MAX);
    *at++ = VERSION;
    *at++ = (uint8_t)config->count;
    for (unsigned i = 0; i < config->count; i++) {
        const struct raft_server *server = &config->servers[i];
        at = put_u32(at, server->id);
        *at++ = server->voter;
        *at++ = server->address_size;
        memcpy(at, server->address, server->address_size);
        at += server->address_size;
    }
    at = put_u32(at, checksum_crc32(0, ret, (size_t)(at - ret)));
    return (size_t)(at - ret);
}

/* The servers lie in `bytes` and fill it. */
static bool decode_servers(struct slice bytes, unsigned count, struct raft_config *config)
{
    uint32_t last = 0;
    for (unsigned i = 0; i < count; i++) {
        if (bytes.size < SERVER_BYTES)
            return false;
        uint32_t id = get_u32(bytes.data);
        uint8_t voter = bytes.data[4], size = bytes.data[5];
        if (id <= last || voter > 1 || size > bytes.size - SERVER_BYTES)
            return false;
        if (raft_config_add(config, id, voter, slice_of(bytes.data + SERVER_BYTES, size)) != 0)
            return false;
        last = id;
        bytes = slice_of(bytes.data + SERVER_BYTES + size, bytes.size - SERVER_BYTES - size);
    }
    return bytes.size == 0;
}

int raft_config_decode(struct slice bytes, struct raft_config *ret_config)
{
    struct raft_config config = {0};
    if (bytes.size < HEAD_BYTES + CRC_BYTES)
        return -ERR_CORRUPT;
    size_t size = bytes.size - CRC_BYTES;
    if (checksum_crc32(0, bytes.data, size) != get_u32(bytes.data + size))
        return -ERR_CORRUPT;
    if (bytes.data[0] != VERSION)
        return -ERR_VERSION;
    if (!decode_servers(slice_of(bytes.data + HEAD_BYTES, size - HEAD_BYTES), bytes.data[1],
                        &config) ||
        raft_config_voters(&config) == 0)
        return -ERR_CORRUPT;
    *ret_config = config;
    return 0;
}

bool raft_entry_valid(const struct raft_entry *entry)
{
    struct raft_config config;
    if (entry->term == 0 || entry->kind < RAFT_ENTRY_NOOP || entry->kind > RAFT_ENTRY_CONFIG ||
        (entry->payload.size > 0 && !entry->buf))
        return false;
    return entry->kind != RAFT_ENTRY_CONFIG || raft_config_decode(entry->payload, &config) == 0;
}
