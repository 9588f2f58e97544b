/* The parts of the kernel's protocol that libfuse 3.14 does not pass on, in both directions. */
#ifndef CAIRN_FUSE_RAW_H
#define CAIRN_FUSE_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "fuse/mount.h"

/* Adds to the answer of INIT what libfuse 3.14 wants but never sets: lookups and readdirs within
 * one directory in parallel (7 times the lookups per second at 5 ms of server latency), and set-id
 * bits cleared by us, which spares a getxattr per write. Only what the kernel offered. True when
 * `reply` was the answer of INIT. */
bool raw_patch_init(const uint8_t *request, size_t size, const struct iovec *reply, int count);

/* A WRITE by someone who may not keep set-id bits; a SETATTR of the size by such a one. */
bool raw_write_kills_setid(const uint8_t *request, size_t size);
bool raw_setattr_kills_setid(const uint8_t *request, size_t size);

/* Answers with open flags that struct fuse_file_info of libfuse 3.14 has no bit for. */
struct raw_open {
    uint64_t handle;
    bool keep_pages;
    bool no_flush; /* close(2) needs no FLUSH */
};
int raw_reply_open(fuse_req_t req, const struct raw_open *open);
int raw_reply_create(fuse_req_t req, const struct wire_attr *attr, unsigned valid_ms,
                     const struct raw_open *open);

#endif
