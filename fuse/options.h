/* What stands on the command line of cairn-mount, and what the mount point must be. */
#ifndef CAIRN_FUSE_OPTIONS_H
#define CAIRN_FUSE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/log.h"

enum { OPTIONS_FLAGS_SIZE = 4096, OPTIONS_PATH_SIZE = 4096 };

struct options {
    const char *cluster, *mount_point;
    const char *log_file, *name;
    enum log_level log_level;
    bool foreground, help, version;
    bool nonempty, allow_other, suid, dev, noexec, read_only;
    unsigned timeout_ms, attr_ms; /* 0 = the client's default */
    uint64_t write_buffer_bytes, read_ahead_bytes;
    char texts[OPTIONS_FLAGS_SIZE]; /* what the pointers above point into, for -o */
    size_t texts_used;
};

/* -ERR_CONFIG with a text that names the argument. Strings of argv are borrowed. */
int options_parse(int argc, char **argv, bool is_root, struct options *ret_options,
                  struct err_text *why);
/* "1s", "250ms", "2m", or seconds without a unit. Sizes: "64MiB", "1GiB", "4096". */
int options_parse_ms(const char *text, unsigned *ret_ms);
int options_parse_bytes(const char *text, uint64_t *ret_bytes);
/* For libfuse: "fsname=...,subtype=cairn,default_permissions,nosuid,nodev,...". */
int options_mount_flags(const struct options *o, char ret_flags[OPTIONS_FLAGS_SIZE],
                        struct err_text *why);
/* The mount point is there, is a directory, is empty and no mount of a client that died. */
int options_check_mount_point(const struct options *o, char ret_path[OPTIONS_PATH_SIZE],
                              struct err_text *why);

extern const char options_usage[];

#endif
