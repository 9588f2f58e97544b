/* The parts of the kernel's protocol that libfuse 3.14 does not pass on. */
#include "fuse/raw.h"

#include <linux/fuse.h>
#include <string.h>

static void split_time(int64_t ns, uint64_t *ret_seconds, uint32_t *ret_ns)
{
    int64_t seconds = ns / 1000000000, rest = ns % 1000000000;
    if (rest < 0) {
        seconds--;
        rest += 1000000000;
    }
    *ret_seconds = (uint64_t)seconds;
    *ret_ns = (uint32_t)rest;
}

/* Before banned.h: the kernel's struct has a field of the name of a banned function. */
static void set_times(struct fuse_attr *out, const struct wire_attr *attr)
{
    split_time(attr->atime_ns, &out->atime, &out->atimensec);
    split_time(attr->mtime_ns, &out->mtime, &out->mtimensec);
    split_time(attr->ctime_ns, &out->ctime, &out->ctimensec);
}

#include "common/base/banned.h"

/* The request's arguments behind its header, or NULL when it is another one or too short. */
static const void *arguments(const uint8_t *request, size_t size, uint32_t opcode, size_t want)
{
    struct fuse_in_header header;
    if (size < sizeof header)
        return NULL;
    memcpy(&header, request, sizeof header);
    if (header.opcode != opcode || size < sizeof header + want)
        return NULL;
    return request + sizeof header;
}

bool raw_patch_init(const uint8_t *request, size_t size, const struct iovec *reply, int count)
{
    /* Before flags2 was added the request was shorter; flags stand at the same place. */
    const size_t want = offsetof(struct fuse_init_in, flags) + sizeof(uint32_t);
    const void *in = arguments(request, size, FUSE_INIT, want);
    if (!in || count < 2 || reply[0].iov_len < sizeof(struct fuse_out_header) ||
        reply[1].iov_len < offsetof(struct fuse_init_out, time_gran))
        return false;
    const struct fuse_out_header *header = reply[0].iov_base;
    if (header->error != 0)
        return true;
    uint32_t offered;
    memcpy(&offered, (const uint8_t *)in + offsetof(struct fuse_init_in, flags), sizeof offered);
    struct fuse_init_out *out = reply[1].iov_base;
    out->flags |= offered & (FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2);
    return true;
}

bool raw_write_kills_setid(const uint8_t *request, size_t size)
{
    const void *in = arguments(request, size, FUSE_WRITE, sizeof(struct fuse_write_in));
    struct fuse_write_in write;
    if (!in)
        return false;
    memcpy(&write, in, sizeof write);
    return (write.write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
}

bool raw_setattr_kills_setid(const uint8_t *request, size_t size)
{
    const void *in = arguments(request, size, FUSE_SETATTR, sizeof(struct fuse_setattr_in));
    struct fuse_setattr_in setattr;
    if (!in)
        return false;
    memcpy(&setattr, in, sizeof setattr);
    return (setattr.valid & FATTR_KILL_SUIDGID) != 0;
}

static struct fuse_open_out open_out(const struct raw_open *open)
{
    /* Direct writes need no lock against each other here: the client orders what overlaps. */
    uint32_t flags = FOPEN_PARALLEL_DIRECT_WRITES;
    if (open->keep_pages)
        flags |= FOPEN_KEEP_CACHE;
    if (open->no_flush)
        flags |= FOPEN_NOFLUSH;
    return (struct fuse_open_out){.fh = open->handle, .open_flags = flags};
}

int raw_reply_open(fuse_req_t req, const struct raw_open *open)
{
    struct fuse_open_out out = open_out(open);
    return fuse_reply_buf(req, (const char *)&out, sizeof out);
}

int raw_reply_create(fuse_req_t req, const struct wire_attr *attr, unsigned valid_ms,
                     const struct raw_open *open)
{
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out = {
        .entry =
            {
                .nodeid = attr->inode,
                .generation = 1,
                .entry_valid = valid_ms / 1000,
                .entry_valid_nsec = valid_ms % 1000 * 1000000,
                .attr_valid = valid_ms / 1000,
                .attr_valid_nsec = valid_ms % 1000 * 1000000,
                .attr =
                    {
                        .ino = attr->inode,
                        .size = attr->size,
                        .blocks = (attr->size + 511) / 512,
                        .mode = attr->mode,
                        .nlink = attr->nlink,
                        .uid = attr->uid,
                        .gid = attr->gid,
                        .rdev = attr->rdev,
                        .blksize = 1 << 20,
                    },
            },
        .open = open_out(open),
    };
    set_times(&out.entry.attr, attr);
    return fuse_reply_buf(req, (const char *)&out, sizeof out);
}
