/* The kernel's read-ahead for a mount. */
#ifndef CAIRN_FUSE_BDI_H
#define CAIRN_FUSE_BDI_H

/* Sets read_ahead_kb of the mount at `path` (as in /proc/self/mountinfo, without touching the mount
 * itself: we are the ones who would have to answer). Needs root; -ERR_PERMISSION and others are
 * worth a log line only: reads are then slower. */
int bdi_set_read_ahead(const char *path, unsigned read_ahead_kb);
/* The device "major:minor" of the line of mountinfo that mounts on `path`; -ERR_NO_ENTRY. */
int bdi_parse_line(const char *line, const char *path, unsigned *ret_major, unsigned *ret_minor);

#endif
