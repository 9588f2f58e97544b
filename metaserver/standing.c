/* The file `standing`, and the rule by which a new folder founds, or joins. */
#include "metaserver/standing.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/wire/prim.h"
#include "metaserver/log_files.h"
#include "common/base/banned.h"

#define STANDING_MAGIC 0x3154534e52494143ull /* "CAIRNST1" */
#define STANDING_NAME  "standing"

enum { STANDING_VERSION = 1, CRC_SIZE = 4 };

/* ---- bytes ---- */

size_t standing_pack(const struct standing *s, const struct uuid *cluster, uint32_t node,
                     uint8_t ret_bytes[STANDING_BYTES_MAX])
{
    uint8_t first[RAFT_CONFIG_BYTES_MAX];
    struct bytes out = {0};
    put_u64(&out, STANDING_MAGIC);
    put_u32(&out, STANDING_VERSION);
    put_u32(&out, node);
    put_uuid(&out, *cluster);
    put_u8(&out, (uint8_t)s->state);
    put_u64(&out, s->life);
    put_blob(&out, slice_of(first, s->first.count ? raft_config_encode(&s->first, first) : 0));
    put_u8(&out, (uint8_t)s->life_count);
    for (unsigned i = 0; i < s->life_count; i++) {
        put_u32(&out, s->lives[i].id);
        put_u64(&out, s->lives[i].life);
    }
    put_u32(&out, checksum_crc32(0, out.data, out.size));
    size_t size = out.size;
    CHECK(size <= STANDING_BYTES_MAX);
    memcpy(ret_bytes, out.data, size);
    bytes_release(&out);
    return size;
}

static bool get_lives(struct wire_in *in, struct standing *s)
{
    uint8_t count;
    if (!get_u8(in, &count) || count > RAFT_VOTERS_MAX)
        return false;
    s->life_count = count;
    for (unsigned i = 0; i < count; i++)
        if (!get_u32(in, &s->lives[i].id) || !get_u64(in, &s->lives[i].life))
            return false;
    return in->at == in->end;
}

int standing_unpack(struct slice bytes, const struct uuid *cluster, uint32_t node,
                    struct standing *ret_standing)
{
    struct standing s = {0};
    struct uuid its_cluster;
    uint64_t magic;
    uint32_t version, its_node;
    uint8_t state;
    struct slice first;
    if (bytes.size < CRC_SIZE || bytes.size > STANDING_BYTES_MAX ||
        load_u32(bytes.data + bytes.size - CRC_SIZE) !=
            checksum_crc32(0, bytes.data, bytes.size - CRC_SIZE))
        return -ERR_CORRUPT;
    struct wire_in in = {bytes.data, bytes.data + bytes.size - CRC_SIZE, WIRE_VERSION};
    if (!get_u64(&in, &magic) || magic != STANDING_MAGIC || !get_u32(&in, &version))
        return -ERR_CORRUPT;
    if (version != STANDING_VERSION)
        return -ERR_VERSION;
    if (!get_u32(&in, &its_node) || !get_uuid(&in, &its_cluster) || !get_u8(&in, &state) ||
        !get_u64(&in, &s.life) || !get_blob(&in, &first) || !get_lives(&in, &s) ||
        state < STANDING_NEW || state > STANDING_MEMBER || s.life == 0)
        return -ERR_CORRUPT;
    if (its_node != node || memcmp(&its_cluster, cluster, sizeof *cluster) != 0)
        return -ERR_WRONG_CLUSTER;
    if (first.size != 0 && raft_config_decode(first, &s.first) != 0)
        return -ERR_CORRUPT;
    s.state = (enum standing_state)state;
    *ret_standing = s;
    return 0;
}

/* ---- the file ---- */

static int open_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? err_from_errno(errno) : fd;
}

int standing_load(const char *folder, const struct uuid *cluster, uint32_t node,
                  struct standing *ret_standing, struct err_text *why)
{
    uint8_t bytes[STANDING_BYTES_MAX + 1];
    size_t size = 0;
    int fd = open_folder(folder);
    if (fd < 0)
        return err_set((enum err) - fd, why, "%.180s: %s", folder, err_text(fd));
    int status = faccessat(fd, STANDING_NAME, F_OK, 0) == 0
                     ? log_file_load(fd, STANDING_NAME, bytes, sizeof bytes, &size)
                     : err_from_errno(errno);
    (void)close(fd);
    if (status == 0)
        status = standing_unpack(slice_of(bytes, size), cluster, node, ret_standing);
    if (status == 0 || status == -ERR_NO_ENTRY)
        return status;
    if (status != -ERR_CORRUPT && status != -ERR_WRONG_CLUSTER && status != -ERR_VERSION)
        return err_set((enum err) - status, why, "%.120s/" STANDING_NAME ": cannot be read: %s",
                       folder, err_text(status));
    return err_set((enum err) - status, why,
                   "%.120s/" STANDING_NAME ": %s; nothing was changed. Move the folder away and "
                   "start again: the other metaservers refill it",
                   folder, err_text(status));
}

bool standing_is_unfinished(const char *name)
{
    return strcmp(name, STANDING_NAME ".tmp") == 0; /* as log_file_replace names it */
}

int standing_store(const char *folder, const struct uuid *cluster, uint32_t node,
                   const struct standing *s)
{
    uint8_t bytes[STANDING_BYTES_MAX];
    size_t size = standing_pack(s, cluster, node, bytes);
    int fd = open_folder(folder);
    if (fd < 0)
        return fd;
    int status = log_file_replace(fd, STANDING_NAME, bytes, size);
    (void)close(fd);
    return status;
}

/* ---- the rule ---- */

static bool knows_life(const struct standing *said, uint32_t self, uint64_t life)
{
    for (unsigned i = 0; i < said->life_count; i++)
        if (said->lives[i].id == self)
            return said->lives[i].life == life;
    return false;
}

static void take_beginning(struct standing *s, const struct standing *said)
{
    s->first = said->first;
    s->life_count = said->life_count;
    memcpy(s->lives, said->lives, sizeof s->lives);
}

enum standing_verdict standing_decide(struct standing *s, uint32_t self,
                                      const struct raft_config *first,
                                      const struct standing_answer *answers, unsigned count)
{
    const struct standing *witness = NULL;
    unsigned known = 0;
    CHECK(count < RAFT_VOTERS_MAX);
    for (unsigned i = 0; i < count; i++) {
        const struct standing *said = &answers[i].said;
        /* One that waits to be added knows nothing yet. */
        if (!answers[i].is_known || (said->state == STANDING_JOINING && said->first.count == 0))
            continue;
#ifdef PLANT_P1
        known++;
#else
        known += said->state != STANDING_NEW || answers[i].is_confirmed;
#endif
        if (said->state == STANDING_NEW)
            continue;
        if (!witness || witness->first.count == 0)
            witness = said;
    }
    if (witness) {
        bool is_known = knows_life(witness, self, s->life);
        take_beginning(s, witness);
        s->state = is_known ? STANDING_MEMBER : STANDING_JOINING;
        return is_known ? STANDING_FOUND : STANDING_JOIN;
    }
    if (known < count)
        return STANDING_WAIT;
    s->first = *first;
    s->life_count = 0;
    s->lives[s->life_count++] = (struct standing_life){self, s->life};
    for (unsigned i = 0; i < count; i++)
        s->lives[s->life_count++] = (struct standing_life){answers[i].id, answers[i].said.life};
    s->state = STANDING_MEMBER;
    return STANDING_FOUND;
}
