/* Checkpoints on their way between nodes: reading and receiving the raw file in pieces. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "metaserver/checkpoint_private.h"
#include "metaserver/log_files.h"
#include "common/base/banned.h"

#define READER_MAGIC   0x434b5244u
#define RECEIVER_MAGIC 0x434b5256u

struct checkpoint_reader {
    uint32_t magic;
    int fd;
    uint64_t size_bytes;
};

int checkpoint_reader_open(struct checkpoint_store *store, struct checkpoint_id id,
                           struct checkpoint_reader **ret_reader)
{
    CHECK_OBJ(store, CHECKPOINT_STORE_MAGIC);
    int fd = -1;
    int result = checkpoint_open_file(store, id, &fd);
    if (result != 0)
        return result;
    struct stat status;
    if (fstat(fd, &status) != 0) {
        result = err_from_errno(errno);
        (void)close(fd);
        return result;
    }
    struct checkpoint_reader *reader = calloc(1, sizeof *reader);
    CHECK(reader != NULL);
    *reader = (struct checkpoint_reader){
        .magic = READER_MAGIC, .fd = fd, .size_bytes = (uint64_t)status.st_size};
    *ret_reader = reader;
    return 0;
}

uint64_t checkpoint_reader_size(const struct checkpoint_reader *reader)
{
    CHECK_OBJ(reader, READER_MAGIC);
    return reader->size_bytes;
}

int checkpoint_reader_read(struct checkpoint_reader *reader, uint64_t offset, void *ret_data,
                           size_t size, size_t *ret_size)
{
    CHECK_OBJ(reader, READER_MAGIC);
    uint64_t left = offset < reader->size_bytes ? reader->size_bytes - offset : 0;
    if (size > left)
        size = (size_t)left;
    int result = log_read_all(reader->fd, ret_data, size, offset);
    if (result == 0)
        *ret_size = size;
    return result;
}

void checkpoint_reader_close(struct checkpoint_reader *reader)
{
    if (!reader)
        return;
    CHECK_OBJ(reader, READER_MAGIC);
    (void)close(reader->fd);
    reader->magic = 0;
    free(reader);
}

struct checkpoint_receiver {
    uint32_t magic;
    struct checkpoint_store *store;
    struct checkpoint_id id;
    int fd;
    uint64_t offset, size_bytes;
};

static bool receiving_begin(struct checkpoint_store *store)
{
    CHECK(pthread_mutex_lock(&store->lock) == 0);
    bool begun = !store->receiving;
    store->receiving = true;
    CHECK(pthread_mutex_unlock(&store->lock) == 0);
    return begun;
}

static void receiving_end(struct checkpoint_store *store)
{
    CHECK(pthread_mutex_lock(&store->lock) == 0);
    store->receiving = false;
    CHECK(pthread_mutex_unlock(&store->lock) == 0);
}

static int receive_file(struct checkpoint_store *store, struct checkpoint_id id, int *ret_fd)
{
    char name[CHECKPOINT_NAME_SIZE], temporary[CHECKPOINT_NAME_SIZE];
    checkpoint_name(id, false, name);
    checkpoint_name(id, true, temporary);
    if (faccessat(store->folder_fd, name, F_OK, 0) == 0)
        return -ERR_EXISTS;
    int fd = openat(store->folder_fd, temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? -ERR_BUSY : err_from_errno(errno);
    *ret_fd = fd;
    return 0;
}

int checkpoint_receiver_open(struct checkpoint_store *store, struct checkpoint_id id,
                             uint64_t size_bytes, struct checkpoint_receiver **ret_receiver)
{
    CHECK_OBJ(store, CHECKPOINT_STORE_MAGIC);
    if (!receiving_begin(store))
        return -ERR_BUSY;
    int fd = -1;
    int result = receive_file(store, id, &fd);
    if (result != 0) {
        receiving_end(store);
        return result;
    }
    struct checkpoint_receiver *receiver = calloc(1, sizeof *receiver);
    CHECK(receiver != NULL);
    *receiver = (struct checkpoint_receiver){
        .magic = RECEIVER_MAGIC, .store = store, .id = id, .fd = fd, .size_bytes = size_bytes};
    *ret_receiver = receiver;
    return 0;
}

int checkpoint_receiver_append(struct checkpoint_receiver *receiver, uint64_t offset,
                               struct slice piece)
{
    CHECK_OBJ(receiver, RECEIVER_MAGIC);
    if (offset != receiver->offset)
        return -ERR_INVALID;
    if (piece.size > receiver->size_bytes - receiver->offset)
        return -ERR_LIMIT;
    int result = log_write_all(receiver->fd, piece.data, piece.size, offset);
    if (result == 0)
        receiver->offset += piece.size;
    return result;
}

uint64_t checkpoint_receiver_offset(const struct checkpoint_receiver *receiver)
{
    CHECK_OBJ(receiver, RECEIVER_MAGIC);
    return receiver->offset;
}

static void receiver_free(struct checkpoint_receiver *receiver)
{
    receiving_end(receiver->store);
    receiver->magic = 0;
    free(receiver);
}

int checkpoint_receiver_finish(struct checkpoint_receiver *take_receiver, struct err_text *why)
{
    CHECK_OBJ(take_receiver, RECEIVER_MAGIC);
    if (take_receiver->offset != take_receiver->size_bytes) {
        int result = err_set(ERR_CORRUPT, why, "received %" PRIu64 " of %" PRIu64 " bytes",
                             take_receiver->offset, take_receiver->size_bytes);
        checkpoint_receiver_abort(take_receiver);
        return result;
    }
    int result = checkpoint_settle(take_receiver->store, take_receiver->fd, take_receiver->id, why);
    receiver_free(take_receiver);
    return result;
}

void checkpoint_receiver_abort(struct checkpoint_receiver *take_receiver)
{
    if (!take_receiver)
        return;
    CHECK_OBJ(take_receiver, RECEIVER_MAGIC);
    char temporary[CHECKPOINT_NAME_SIZE];
    checkpoint_name(take_receiver->id, true, temporary);
    (void)close(take_receiver->fd);
    (void)log_file_remove(take_receiver->store->folder_fd, temporary);
    receiver_free(take_receiver);
}
