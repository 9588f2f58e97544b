/* Files of a metadata log's folder: identity, lock, segments, spares, vote record, ballast. Knows
 * names, sizes and the order of syncs; nothing about entries. Any thread; blocks. */
#ifndef CAIRN_METASERVER_LOG_FILES_H
#define CAIRN_METASERVER_LOG_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/checksum.h"
#include "common/base/err.h"

struct log_identity {
    struct uuid cluster;
    uint32_t node;
    uint64_t segment_size_bytes;
};

struct log_file_name {
    bool spare;
    uint64_t number;      /* of the segment or the spare */
    uint64_t first_batch; /* segments only */
};

enum { LOG_NAME_SIZE = 64, LOG_IDENTITY_SIZE_MAX = 512 };

void log_file_name_format(const struct log_file_name *name, char ret_text[LOG_NAME_SIZE]);
bool log_file_name_parse(const char *text, struct log_file_name *ret_name);

/* Opens the folder (making it when `create`) and locks it: -ERR_BUSY when someone else holds it. */
int log_folder_open(const char *folder, bool create, int *ret_fd, struct err_text *why);

struct log_listing {
    struct log_file_name *segments, *spares; /* segments in ascending order */
    size_t segment_count, spare_count;
    bool identity, vote, ballast;
};
/* Removes temporary files on the way. */
int log_folder_list(int folder_fd, struct log_listing *ret_listing);
/* The same without any change. */
int log_folder_look(int folder_fd, struct log_listing *ret_listing);
void log_listing_release(struct log_listing *listing);

/* Writes a whole small file under a temporary name, syncs, renames, syncs the folder. */
int log_file_replace(int folder_fd, const char *name, const void *data, size_t size);
/* Reads at most `size` bytes after dropping the cached pages; *ret_size says how many there are. */
int log_file_load(int folder_fd, const char *name, void *ret_data, size_t size, size_t *ret_size);

int log_identity_write(int folder_fd, const struct log_identity *identity);
/* -ERR_FAULTY_LOG, -ERR_VERSION, -ERR_IO. */
int log_identity_parse(const void *bytes, size_t size, struct log_identity *ret_identity,
                       struct err_text *why);
int log_identity_read(int folder_fd, struct log_identity *ret_identity, struct err_text *why);

/* Makes `name` of `size` bytes, preallocated, written with zeros and synced. -ERR_NO_SPACE leaves
 * nothing behind. */
int log_file_preallocate(int folder_fd, const char *name, uint64_t size);
int log_file_rename(int folder_fd, const char *from, const char *to); /* and syncs the folder */
int log_file_remove(int folder_fd, const char *name);                 /* absent is fine */

/* Reads a whole segment from the disk, not from the cache; what cannot be read becomes
 * LOG_UNREADABLE bytes. *ret_whole: the file has the right size and no read failed. */
int log_segment_load(int fd, uint8_t *ret_image, uint64_t size, bool *ret_whole);

int log_write_all(int fd, const void *data, size_t size, uint64_t offset);
/* -ERR_NO_DATA when the file ends before, which says something about the file; any other error only
 * about the disk or the process. */
int log_read_all(int fd, void *ret_data, size_t size, uint64_t offset);

#endif
