/* The client for programs that want to wait: a loop on a thread of its own, and functions that post
 * to it and sleep until the answer is there. Several threads may use one client this way; each call
 * is bounded by the client's deadline_ms, so none of these functions hangs for ever.
 *
 * Not to be called from the client's loop. Meaning and errors are those of client.h. */
#ifndef CAIRN_CLIENT_BLOCKING_H
#define CAIRN_CLIENT_BLOCKING_H

#include "common/base/bytes.h"
#include "common/client/client.h"

struct blocking_client;

enum { BLOCKING_WHY_SIZE = 2048 };

/* Starts the thread and connects. `why` gets the reason of a failure. */
int blocking_start(const struct client_options *options, struct blocking_client **ret_client,
                   char why[BLOCKING_WHY_SIZE]);
/* Flushes, closes the session, ends the thread; handles that are open die with it. */
int blocking_stop(struct blocking_client *b);
/* For functions of client.h, which are to be called on its loop only (through blocking_run). */
struct client *blocking_client_of(struct blocking_client *b);

/* Anything else: runs start(call, arg) on the loop and sleeps until somebody there calls
 * blocking_done(call, status), at once or later, exactly once; its status is returned. */
struct blocking_call;
typedef void blocking_start_fn(struct blocking_call *call, struct client *c, void *arg);
int blocking_run(struct blocking_client *b, blocking_start_fn *start, void *arg);
void blocking_done(struct blocking_call *call, int status);

/* ---- names and attributes; ret_attr may be NULL ---- */
int blocking_lookup(struct blocking_client *b, const struct client_caller *who, uint64_t parent,
                    struct slice name, struct wire_attr *ret_attr);
/* Follows `path` from the root; symbolic links are not followed. "" and "/" are the root. */
int blocking_resolve(struct blocking_client *b, const struct client_caller *who, const char *path,
                     struct wire_attr *ret_attr);
int blocking_getattr(struct blocking_client *b, const struct client_caller *who, uint64_t inode,
                     struct wire_attr *ret_attr);
int blocking_setattr(struct blocking_client *b, const struct client_caller *who, uint64_t inode,
                     struct client_handle *handle, const struct client_setattr *set,
                     struct wire_attr *ret_attr);
int blocking_mknod(struct blocking_client *b, const struct client_caller *who, uint64_t parent,
                   struct slice name, uint32_t mode, uint32_t rdev, struct wire_attr *ret_attr);
int blocking_mkdir(struct blocking_client *b, const struct client_caller *who, uint64_t parent,
                   struct slice name, uint32_t mode, struct wire_attr *ret_attr);
int blocking_symlink(struct blocking_client *b, const struct client_caller *who, uint64_t parent,
                     struct slice name, struct slice link_target, struct wire_attr *ret_attr);
int blocking_link(struct blocking_client *b, const struct client_caller *who, uint64_t inode,
                  uint64_t parent, struct slice name, struct wire_attr *ret_attr);
int blocking_unlink(struct blocking_client *b, const struct client_caller *who, uint64_t parent,
                    struct slice name, struct wire_attr *ret_attr);
int blocking_rmdir(struct blocking_client *b, const struct client_caller *who, uint64_t parent,
                   struct slice name, struct wire_attr *ret_attr);
int blocking_rename(struct blocking_client *b, const struct client_caller *who, uint64_t parent,
                    struct slice name, uint64_t new_parent, struct slice new_name, uint32_t flags,
                    struct wire_attr *ret_attr);
/* Appends the target to `out`. */
int blocking_readlink(struct blocking_client *b, const struct client_caller *who, uint64_t inode,
                      struct bytes *out);
/* Calls `each` on the caller's thread for one batch of entries behind *cursor (start with 0), moves
 * the cursor on. *ret_end is true when no more follow. */
typedef void blocking_dirent_fn(void *arg, const struct client_dirent *entry);
int blocking_readdir(struct blocking_client *b, const struct client_caller *who, uint64_t inode,
                     uint64_t *cursor, blocking_dirent_fn *each, void *arg, bool *ret_end);
int blocking_statfs(struct blocking_client *b, struct client_statfs *ret_statfs);

/* ---- files ---- */
int blocking_open(struct blocking_client *b, const struct client_caller *who, uint64_t inode,
                  uint32_t flags, struct client_opened *ret_opened);
int blocking_create_file(struct blocking_client *b, const struct client_caller *who,
                         uint64_t parent, struct slice name, uint32_t mode, uint32_t flags,
                         struct client_opened *ret_opened);
int blocking_release(struct blocking_client *b, struct client_handle *h);
/* Up to CLIENT_IO_MAX bytes into `data`; *ret_size is less than `size` only at the end. */
int blocking_read(struct blocking_client *b, struct client_handle *h, uint64_t offset, void *data,
                  size_t size, size_t *ret_size);
/* Takes the caller's reference of the block, as client_write. */
int blocking_write(struct blocking_client *b, struct client_handle *h, uint64_t offset,
                   struct buf *take_block, size_t at, size_t size);
int blocking_flush(struct blocking_client *b, struct client_handle *h);
int blocking_fsync(struct blocking_client *b, struct client_handle *h);
int blocking_truncate(struct blocking_client *b, const struct client_caller *who,
                      struct client_handle *h, uint64_t size, struct wire_attr *ret_attr);

/* Not bounded by deadline_ms: as client_set_copies. */
int blocking_set_copies(struct blocking_client *b, const struct client_caller *who, uint64_t inode,
                        uint8_t copies, struct err_text *why);
int blocking_places(struct blocking_client *b, struct client_handle *h,
                    struct client_places *ret_places);

/* ---- raw requests ---- */
/* Appends the answer's body to `out`; `why` may be NULL. */
int blocking_leader_call(struct blocking_client *b, uint16_t code, struct slice body,
                         uint16_t *ret_code, struct bytes *out, struct err_text *why);

#endif
