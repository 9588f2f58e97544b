/* What the files of cairn-inspect share. Everything is opened for reading only; nothing here
 * writes, syncs, locks for long or removes. One thread. */
#ifndef CAIRN_TOOLS_OFFLINE_INSPECT_H
#define CAIRN_TOOLS_OFFLINE_INSPECT_H

#include "metaserver/checkpoint_store.h"
#include "metaserver/fs/fs_check.h"
#include "tools/command.h"

/* Exit codes: EXIT_GOOD for sound, EXIT_ERROR for findings, EXIT_USAGE for all else. */

command_fn command_log, command_checkpoint, command_db;

enum { INSPECT_PATH_MAX = 4096 };

/* `folder` itself when it holds `mark`, otherwise its folder `inner` (so that a metaserver's data
 * folder will do). False, with a complaint, when neither is. */
bool inspect_folder(const char *folder, const char *mark, const char *inner,
                    char ret_path[INSPECT_PATH_MAX]);
/* The process that holds the lock of the log's folder; 0 = none. By /proc/locks, so that a daemon
 * which starts at this moment is not disturbed. */
int inspect_owner(int folder_fd);
/* The form of -o; EXIT_USAGE after a complaint. */
int inspect_form(const struct arguments *a, bool *ret_json);

/* Checks a state and prints counts and findings. */
int inspect_check(struct fs_view *view, bool json, unsigned *ret_findings);

#endif
