/* Which cluster a command means, and a client for it. One thread. */
#ifndef CAIRN_TOOLS_CONNECT_H
#define CAIRN_TOOLS_CONNECT_H

#include "common/client/blocking.h"
#include "common/wire/codec.h"
#include "tools/command.h"

enum { CLUSTER_TEXT_MAX = 4200, ADMIN_DEADLINE_MS = 10000 };

/* From --cluster, CAIRN_CLUSTER, the mount that `path` (may be NULL) or the working directory lies
 * in. Prints what to do and returns an exit code when there is none. */
int cluster_of(const struct arguments *a, const char *path, char ret_cluster[CLUSTER_TEXT_MAX]);
/* The cluster of the mount that holds `path`; -ERR_NO_ENTRY when it is in none. */
int cluster_of_path(const char *path, char ret_cluster[CLUSTER_TEXT_MAX]);

/* Connects within 10 s, or says why not. `files`: with a session, to work on files. */
int connect_to(const char *cluster, bool files, struct blocking_client **ret_client);

/* The same for requests of an operator: a silent cluster is noticed after ADMIN_DEADLINE_MS. */
int connect_admin(const char *cluster, struct blocking_client **ret_client);

/* The leader's status; `bytes` holds what the lists point into until bytes_release. */
int status_fetch(struct blocking_client *b, struct bytes *bytes, struct msg_status_r *ret_status,
                 struct err_text *why);

#endif
