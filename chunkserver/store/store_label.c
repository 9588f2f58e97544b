/* The label of a target: who it is, how it was left. Two slots written in turn, so that one of them
 * is whole whenever the power goes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "chunkserver/store/store_private.h"
#include "common/base/banned.h"

/* "CAIRNTGT" read as a little-endian number. */
#define LABEL_MAGIC UINT64_C(0x5447544e52494143)
enum {
    LABEL_FORMAT = 1,
    SLOT_COUNT = 2,
    SLOT_SPACING = 4096, /* a page each: a torn one never takes the other with it */
    SLOT_SIZE = 512,
    SLOT_CRC_AT = SLOT_SIZE - 4,
    FLAG_CLEAN = 1,
    FLAG_INDEX_GOOD = 2,
};

static void pack(const struct label *l, uint8_t slot[SLOT_SIZE])
{
    memset(slot, 0, SLOT_SIZE);
    put_u64(slot, LABEL_MAGIC);
    put_u32(slot + 8, LABEL_FORMAT);
    put_u32(slot + 12, (l->clean ? FLAG_CLEAN : 0u) | (l->index_good ? FLAG_INDEX_GOOD : 0u));
    put_u64(slot + 16, l->sequence);
    memcpy(slot + 24, l->cluster.bytes, UUID_SIZE);
    memcpy(slot + 40, l->target.bytes, UUID_SIZE);
    put_u64(slot + 56, l->incarnation);
    put_u64(slot + 64, l->position.term);
    put_u64(slot + 72, l->position.index);
    put_u64(slot + 80, l->generation_clean);
    memcpy(slot + 88, l->instance, INSTANCE_SIZE);
    put_u32(slot + SLOT_CRC_AT, checksum_crc32(0, slot, SLOT_CRC_AT));
}

static int unpack(const uint8_t slot[SLOT_SIZE], struct label *ret_label)
{
    if (get_u64(slot) != LABEL_MAGIC ||
        get_u32(slot + SLOT_CRC_AT) != checksum_crc32(0, slot, SLOT_CRC_AT))
        return -ERR_CORRUPT;
    if (get_u32(slot + 8) != LABEL_FORMAT)
        return -ERR_VERSION;
    struct label l = {
        .sequence = get_u64(slot + 16),
        .incarnation = get_u64(slot + 56),
        .position = {get_u64(slot + 64), get_u64(slot + 72)},
        .generation_clean = get_u64(slot + 80),
        .clean = (get_u32(slot + 12) & FLAG_CLEAN) != 0,
        .index_good = (get_u32(slot + 12) & FLAG_INDEX_GOOD) != 0,
    };
    memcpy(l.cluster.bytes, slot + 24, UUID_SIZE);
    memcpy(l.target.bytes, slot + 40, UUID_SIZE);
    memcpy(l.instance, slot + 88, INSTANCE_SIZE);
    *ret_label = l;
    return 0;
}

int label_write(int fd, struct label *l)
{
    uint8_t slot[SLOT_SIZE];
    l->sequence++;
    pack(l, slot);
    int error = io_write(fd, slot, sizeof slot, l->sequence % SLOT_COUNT * SLOT_SPACING);
    if (error == 0 && fdatasync(fd) != 0)
        error = errno;
    return error;
}

int label_create(int root, struct label *l, int *ret_fd)
{
    static const uint8_t zeros[SLOT_COUNT * SLOT_SPACING];
    int fd = openat(root, "label.new", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    int error = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    if (error == 0)
        error = io_write(fd, zeros, sizeof zeros, 0);
    for (int i = 0; i < SLOT_COUNT && error == 0; i++)
        error = label_write(fd, l);
    if (error == 0 && (renameat(root, "label.new", root, "label") != 0 || fsync(root) != 0))
        error = errno;
    if (error != 0) {
        (void)close(fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

int label_open(int root, int *ret_fd, struct err_text *why)
{
    int fd = openat(root, "label", O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return -ERR_NO_ENTRY;
    if (fd < 0)
        return err_set((enum err)(-err_from_errno(errno)), why, "label: %s", strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int error = errno;
        (void)close(fd);
        if (error == EWOULDBLOCK)
            return err_set(ERR_BUSY, why, "another process uses this target");
        return err_set((enum err)(-err_from_errno(error)), why, "cannot lock the label: %s",
                       strerror(error));
    }
    *ret_fd = fd;
    return 0;
}

int label_read(int fd, struct label *ret_label, struct err_text *why)
{
    bool found = false;
    struct label best = {.sequence = 0};
    for (int i = 0; i < SLOT_COUNT; i++) {
        uint8_t slot[SLOT_SIZE];
        struct label l;
        size_t size;
        if (io_read(fd, slot, sizeof slot, (uint64_t)i * SLOT_SPACING, &size) != 0 ||
            size != sizeof slot)
            continue;
        int status = unpack(slot, &l);
        if (status == -ERR_VERSION)
            return err_set(ERR_VERSION, why, "the label has format %u; this program knows %u",
                           get_u32(slot + 8), (unsigned)LABEL_FORMAT);
        if (status == 0 && (!found || l.sequence > best.sequence)) {
            best = l;
            found = true;
        }
    }
    if (!found)
        return err_set(ERR_CORRUPT, why, "both copies of the label are damaged");
    *ret_label = best;
    return 0;
}
