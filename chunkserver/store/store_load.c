/* Reads a chunk's header and CRC table from its file. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "chunkserver/store/store_private.h"
#include "common/base/banned.h"

static int load_tail(int fd, const struct chunk_header *h, uint8_t **ret_tail)
{
    if (h->tail_pages == 0) {
        *ret_tail = NULL;
        return 0;
    }
    uint8_t *tail = calloc(1, TAIL_SIZE);
    CHECK(tail != NULL);
    unsigned pages = 32 - (unsigned)__builtin_clz(h->tail_pages);
    size_t size;
    int error = io_read(fd, tail, (size_t)pages * HEADER_SIZE, TAIL_AT, &size);
    if (error != 0) {
        free(tail);
        return -ERR_IO;
    }
    *ret_tail = tail;
    return 0;
}

int load_header(struct store *s, const struct store_entry *entry, int *ret_fd,
                struct chunk_header *ret_header, uint8_t page[HEADER_SIZE], uint8_t **ret_tail)
{
    char name[FILE_NAME_SIZE];
    struct chunk_header h;
    uint8_t *tail = NULL;
    size_t size;

    store_file_name(entry, name);
    int fd = openat(s->root, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? -ERR_LOST_CHUNK : err_from_errno(errno);
    int status = io_read(fd, page, HEADER_SIZE, 0, &size) == 0 ? 0 : -ERR_IO;
    if (status == 0)
        status = size == HEADER_SIZE ? header_unpack(page, &h) : -ERR_CORRUPT;
    if (status == 0 && (!chunk_id_equal(&h.id, &entry->id) || h.shard != entry->shard ||
                        h.copies != entry->copies))
        status = -ERR_CORRUPT;
    if (status == 0)
        status = load_tail(fd, &h, &tail);
    if (status != 0) {
        (void)close(fd);
        return status;
    }
    (void)header_check_crcs(&h, page, tail);
    *ret_fd = fd;
    *ret_header = h;
    *ret_tail = tail;
    return 0;
}
