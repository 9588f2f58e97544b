/* All invariants of the state machine, checked on a snapshot while the service goes on.
 *
 * Memory is bounded whatever the size of the state: inodes are taken in ranges, and all names are
 * walked once per range (the way e2fsck would need a bitmap, this needs another pass). A view keeps
 * old pages of the database from being used again, so it should end soon after. */
#ifndef CAIRN_FS_FS_CHECK_H
#define CAIRN_FS_FS_CHECK_H

#include "metaserver/fs/fs.h"

enum {
    FS_CHECK_INODES_AT_ONCE = 1 << 20, /* 72 bytes each */
    FS_CHECK_FINDINGS_MAX = 100,
};

struct fs_check_options {
    uint64_t inodes_at_once; /* 0 = FS_CHECK_INODES_AT_ONCE */
    unsigned findings_max;   /* 0 = FS_CHECK_FINDINGS_MAX; at the last one the walk ends */
    /* One text per finding; on the caller's thread. May be NULL. */
    void (*finding)(void *arg, const char *text);
    /* Asked now and then; false ends the walk with -ERR_CANCELLED. May be NULL. */
    bool (*go_on)(void *arg);
    void *arg;
};

struct fs_check_counts {
    struct uuid cluster;
    uint64_t index, term;                       /* of the last entry in the state */
    uint64_t files, directories, links, others; /* links: symbolic ones */
    uint64_t names, chunks, file_bytes, garbage, orphans, sessions, answers, targets, shards;
    unsigned findings;
    bool is_broken_off; /* findings_max was reached: there may be more */
};

/* 0: walked, and ret->findings says what was found. -ERR_CANCELLED, -ERR_VERSION, -ERR_IO: not
 * walked. Any thread; the view is used by nobody else meanwhile. */
int fs_check_view(struct fs_view *view, const struct fs_check_options *options,
                  struct fs_check_counts *ret);

#endif
