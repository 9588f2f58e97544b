/* Between the client's words and the kernel's: attributes, flags. Pure. */
#ifndef CAIRN_FUSE_CONVERT_H
#define CAIRN_FUSE_CONVERT_H

#include <sys/stat.h>

#include "fuse/mount.h"

struct stat convert_stat(const struct wire_attr *attr);
struct fuse_entry_param convert_entry(const struct wire_attr *attr, unsigned valid_ms);
/* open(2) flags to enum open_flags. */
uint32_t convert_open_flags(int flags);
/* What libfuse passes to setattr. */
struct client_setattr convert_setattr(const struct stat *st, int to_set);
/* fallocate(2) modes; 0 for one that is not supported. */
enum client_fallocate_mode convert_fallocate(int mode);

#endif
