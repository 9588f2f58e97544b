/* Unmounting from inside. Not on the loop: the kernel asks the file system things meanwhile. */
#ifndef CAIRN_FUSE_UNMOUNT_H
#define CAIRN_FUSE_UNMOUNT_H

#include <stdbool.h>

/* True when it was busy and had to be detached: files still open there will fail. As root directly,
 * otherwise through fusermount3. Blocks. */
bool unmount_path(const char *path);

#endif
