/* Files of a metadata log's folder. */
#include "metaserver/log_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "metaserver/log_recover.h"
#include "common/base/banned.h"

enum { ZERO_PIECE_SIZE = 1 << 20 };

static const char temporary_suffix[] = ".tmp";

void log_file_name_format(const struct log_file_name *name, char ret_text[LOG_NAME_SIZE])
{
    if (name->spare)
        (void)snprintf(ret_text, LOG_NAME_SIZE, "spare-%016" PRIx64, name->number);
    else
        (void)snprintf(ret_text, LOG_NAME_SIZE, "log-%016" PRIx64 "-%016" PRIx64, name->number,
                       name->first_batch);
}

bool log_file_name_parse(const char *text, struct log_file_name *ret_name)
{
    struct log_file_name name = {0};
    char again[LOG_NAME_SIZE];
    // NOLINTNEXTLINE(cert-err34-c) what is not a number does not format to the same text below
    if (sscanf(text, "log-%16" SCNx64 "-%16" SCNx64, &name.number, &name.first_batch) != 2) {
        name.spare = true;
        // NOLINTNEXTLINE(cert-err34-c) as above
        if (sscanf(text, "spare-%16" SCNx64, &name.number) != 1)
            return false;
    }
    log_file_name_format(&name, again);
    if (strcmp(text, again) != 0)
        return false;
    *ret_name = name;
    return true;
}

int log_folder_open(const char *folder, bool create, int *ret_fd, struct err_text *why)
{
    if (create && mkdir(folder, 0700) != 0 && errno != EEXIST)
        return err_set((enum err) - err_from_errno(errno), why, "%s: cannot be made: %s", folder,
                       strerror(errno));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set((enum err) - err_from_errno(errno), why, "%s: %s", folder, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int failed = errno;
        (void)close(fd);
        if (failed == EWOULDBLOCK)
            return err_set(ERR_BUSY, why, "%s: in use by another process", folder);
        return err_set((enum err) - err_from_errno(failed), why, "%s: cannot be locked: %s", folder,
                       strerror(failed));
    }
    *ret_fd = fd;
    return 0;
}

static void names_push(struct log_file_name **names, size_t *count, struct log_file_name name)
{
    *names = realloc(*names, (*count + 1) * sizeof **names);
    CHECK(*names != NULL);
    (*names)[(*count)++] = name;
}

static int names_compare(const void *a, const void *b)
{
    const struct log_file_name *left = a, *right = b;
    return (left->number > right->number) - (left->number < right->number);
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t size = strlen(text), tail = strlen(suffix);
    return size >= tail && strcmp(text + size - tail, suffix) == 0;
}

static int list_folder(int folder_fd, bool remove_temporary, struct log_listing *ret_listing)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory) {
        int failed = errno;
        if (fd >= 0)
            (void)close(fd);
        return err_from_errno(failed);
    }
    struct log_listing l = {0};
    struct dirent *d;
    while (errno = 0, (d = readdir(directory)) != NULL) {
        struct log_file_name name;
        if (ends_with(d->d_name, temporary_suffix)) {
            if (remove_temporary)
                (void)unlinkat(folder_fd, d->d_name, 0);
        } else if (strcmp(d->d_name, "identity") == 0)
            l.identity = true;
        else if (strcmp(d->d_name, "vote") == 0)
            l.vote = true;
        else if (strcmp(d->d_name, "ballast") == 0)
            l.ballast = true;
        else if (log_file_name_parse(d->d_name, &name))
            names_push(name.spare ? &l.spares : &l.segments,
                       name.spare ? &l.spare_count : &l.segment_count, name);
    }
    int failed = errno;
    (void)closedir(directory);
    if (failed != 0) { /* a part of the list would look like a loss */
        log_listing_release(&l);
        return err_from_errno(failed);
    }
    if (l.segment_count > 1)
        qsort(l.segments, l.segment_count, sizeof *l.segments, names_compare);
    *ret_listing = l;
    return 0;
}

int log_folder_list(int folder_fd, struct log_listing *ret_listing)
{
    return list_folder(folder_fd, true, ret_listing);
}

int log_folder_look(int folder_fd, struct log_listing *ret_listing)
{
    return list_folder(folder_fd, false, ret_listing);
}

void log_listing_release(struct log_listing *listing)
{
    free(listing->segments);
    free(listing->spares);
    *listing = (struct log_listing){0};
}

int log_write_all(int fd, const void *data, size_t size, uint64_t offset)
{
    const uint8_t *at = data;
    while (size > 0) {
        ssize_t done = pwrite(fd, at, size, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? err_from_errno(errno) : -ERR_IO;
        at += done;
        size -= (size_t)done;
        offset += (uint64_t)done;
    }
    return 0;
}

/* How much could be read; stops at the end of the file or at an error. */
static size_t read_some(int fd, void *ret_data, size_t size, uint64_t offset, int *ret_error)
{
    size_t total = 0;
    *ret_error = 0;
    while (total < size) {
        ssize_t done =
            pread(fd, (uint8_t *)ret_data + total, size - total, (off_t)(offset + total));
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            *ret_error = err_from_errno(errno);
        if (done <= 0)
            break;
        total += (size_t)done;
    }
    return total;
}

int log_read_all(int fd, void *ret_data, size_t size, uint64_t offset)
{
    int error;
    if (read_some(fd, ret_data, size, offset, &error) == size)
        return 0;
    return error != 0 ? error : -ERR_NO_DATA;
}

/* After a failed fsync the kernel may keep pages as clean that never reached the disk (R19). */
static int drop_cache(int fd)
{
    if (fdatasync(fd) != 0)
        return err_from_errno(errno);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return 0;
}

static int make_file(int folder_fd, const char *name, const void *data, uint64_t size)
{
    int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) /* without descriptors nothing is known about the disk */
        return errno == EMFILE || errno == ENFILE ? -ERR_BUSY : err_from_errno(errno);
    int failed;
    do /* so that a full disk is known at once */
        failed = posix_fallocate(fd, 0, (off_t)size);
    while (failed == EINTR);
    int result = failed ? err_from_errno(failed) : 0;
    if (data && result == 0)
        result = log_write_all(fd, data, size, 0);
    if (!data && result == 0) {
        uint8_t *zeros = calloc(1, ZERO_PIECE_SIZE);
        CHECK(zeros != NULL);
        for (uint64_t at = 0; at < size && result == 0; at += ZERO_PIECE_SIZE)
            result = log_write_all(fd, zeros,
                                   size - at < ZERO_PIECE_SIZE ? size - at : ZERO_PIECE_SIZE, at);
        free(zeros);
    }
    if (result == 0 && fsync(fd) != 0)
        result = err_from_errno(errno);
    if (close(fd) != 0 && result == 0)
        result = err_from_errno(errno);
    return result;
}

int log_file_rename(int folder_fd, const char *from, const char *to)
{
    if (renameat(folder_fd, from, folder_fd, to) != 0 || fsync(folder_fd) != 0)
        return err_from_errno(errno);
    return 0;
}

int log_file_remove(int folder_fd, const char *name)
{
    return unlinkat(folder_fd, name, 0) == 0 || errno == ENOENT ? 0 : err_from_errno(errno);
}

static int make_and_rename(int folder_fd, const char *name, const void *data, uint64_t size)
{
    char temporary[LOG_NAME_SIZE + sizeof temporary_suffix];
    (void)snprintf(temporary, sizeof temporary, "%s%s", name, temporary_suffix);
    int result = make_file(folder_fd, temporary, data, size);
    if (result == 0)
        result = log_file_rename(folder_fd, temporary, name);
    if (result != 0)
        (void)log_file_remove(folder_fd, temporary);
    return result;
}

int log_file_replace(int folder_fd, const char *name, const void *data, size_t size)
{
    return make_and_rename(folder_fd, name, data, size);
}

int log_file_preallocate(int folder_fd, const char *name, uint64_t size)
{
    return make_and_rename(folder_fd, name, NULL, size);
}

int log_file_load(int folder_fd, const char *name, void *ret_data, size_t size, size_t *ret_size)
{
    int fd = openat(folder_fd, name, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    int result = drop_cache(fd);
    struct stat status;
    if (result == 0 && fstat(fd, &status) != 0)
        result = err_from_errno(errno);
    if (result == 0) {
        size_t present = (uint64_t)status.st_size < size ? (size_t)status.st_size : size;
        result = log_read_all(fd, ret_data, present, 0);
        if (result == 0)
            *ret_size = (uint64_t)status.st_size > size ? SIZE_MAX : present;
    }
    (void)close(fd);
    return result;
}

int log_segment_load(int fd, uint8_t *ret_image, uint64_t size, bool *ret_whole)
{
    int result = drop_cache(fd);
    if (result != 0)
        return result;
    struct stat status;
    if (fstat(fd, &status) != 0)
        return err_from_errno(errno);
    bool whole = (uint64_t)status.st_size == size;
    int error;
    uint64_t at = read_some(fd, ret_image, size, 0, &error);
    while (at < size) { /* block by block over the bad places */
        uint64_t block = at - at % LOG_BLOCK_SIZE;
        size_t got = read_some(fd, ret_image + block, LOG_BLOCK_SIZE, block, &error);
        whole = whole && got == LOG_BLOCK_SIZE;
        memset(ret_image + block + got, LOG_UNREADABLE, LOG_BLOCK_SIZE - got);
        at = block + LOG_BLOCK_SIZE;
    }
    *ret_whole = whole;
    return 0;
}

static int identity_format(const struct log_identity *identity, unsigned version,
                           char ret_text[LOG_IDENTITY_SIZE_MAX])
{
    char cluster[UUID_TEXT_SIZE];
    uuid_format(&identity->cluster, cluster);
    int size = snprintf(ret_text, LOG_IDENTITY_SIZE_MAX,
                        "cairn metadata log\nversion %u\ncluster %s\nnode %" PRIu32
                        "\nsegment-size %" PRIu64 "\n",
                        version, cluster, identity->node, identity->segment_size_bytes);
    uint32_t crc = checksum_crc32(0, ret_text, (size_t)size);
    return size +
           snprintf(ret_text + size, LOG_IDENTITY_SIZE_MAX - (size_t)size, "crc %08x\n", crc);
}

int log_identity_write(int folder_fd, const struct log_identity *identity)
{
    char text[LOG_IDENTITY_SIZE_MAX];
    int size = identity_format(identity, LOG_FORMAT_VERSION, text);
    return log_file_replace(folder_fd, "identity", text, (size_t)size);
}

int log_identity_read(int folder_fd, struct log_identity *ret_identity, struct err_text *why)
{
    char text[LOG_IDENTITY_SIZE_MAX];
    size_t size = 0;
    int result = log_file_load(folder_fd, "identity", text, sizeof text - 1, &size);
    if (result != 0)
        return err_set((enum err) - result, why, "identity: cannot be read: %s", err_text(result));
    return log_identity_parse(text, size, ret_identity, why);
}

int log_identity_parse(const void *bytes, size_t size, struct log_identity *ret_identity,
                       struct err_text *why)
{
    char text[LOG_IDENTITY_SIZE_MAX], again[LOG_IDENTITY_SIZE_MAX], cluster[UUID_TEXT_SIZE];
    if (size > sizeof text - 1)
        return err_set(ERR_FAULTY_LOG, why, "identity: too long");
    memcpy(text, bytes, size);
    text[size] = '\0';
    struct log_identity identity;
    unsigned version;
    // NOLINTNEXTLINE(cert-err34-c) a wrong number shows as another cluster or node
    if (sscanf(text,
               "cairn metadata log\nversion %u\ncluster %36s\nnode %" SCNu32
               "\nsegment-size %" SCNu64,
               &version, cluster, &identity.node, &identity.segment_size_bytes) != 4 ||
        uuid_parse(cluster, &identity.cluster) != 0)
        return err_set(ERR_FAULTY_LOG, why, "identity: not understood");
    (void)identity_format(&identity, version, again);
    if (strlen(again) != size || memcmp(text, again, size) != 0)
        return err_set(ERR_FAULTY_LOG, why, "identity: checksum wrong");
    if (version != LOG_FORMAT_VERSION)
        return err_set(ERR_VERSION, why, "identity: format version %u, this program knows %d",
                       version, LOG_FORMAT_VERSION);
    if (identity.segment_size_bytes < LOG_SEGMENT_SIZE_MIN ||
        identity.segment_size_bytes % LOG_BLOCK_SIZE != 0 ||
        identity.segment_size_bytes > (uint64_t)1 << 32)
        return err_set(ERR_FAULTY_LOG, why, "identity: impossible segment size");
    *ret_identity = identity;
    return 0;
}
