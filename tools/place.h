/* Where a path of the command line is: in the cluster (past the mount) or on this machine. */
#ifndef CAIRN_TOOLS_PLACE_H
#define CAIRN_TOOLS_PLACE_H

#include <limits.h>

#include "tools/connect.h"

struct place {
    bool is_remote;
    char path[PATH_MAX]; /* remote: from the root of the cluster, "/a/b"; local: as it was given */
};

/* "cairn:/a/b" is remote; so is a path inside a mount of Cairn; everything else is local. Symbolic
 * links in the folders of a mounted path are followed by the kernel. */
int place_parse(const char *text, struct place *ret_place);
/* Splits the last name off a remote path. "/" has none: -ERR_INVALID. */
int place_split(const char *path, char ret_folder[PATH_MAX], const char **ret_name);
/* Appends "/name"; -ERR_NAME_TOO_LONG. */
int place_join(const char *folder, const char *name, char ret_path[PATH_MAX]);
/* The caller of all requests: this process. */
const struct client_caller *caller_self(void);

#endif
