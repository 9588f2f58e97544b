/* Every command of `cairn`; the table is in main.c. */
#ifndef CAIRN_TOOLS_COMMANDS_H
#define CAIRN_TOOLS_COMMANDS_H

#include "tools/command.h"

command_fn command_status, command_health, command_server_ls;
command_fn command_meta_ls, command_meta_checkpoint, command_meta_transfer, command_meta_dump,
    command_meta_load, command_meta_add, command_meta_remove, command_meta_recover, command_fsck;
command_fn command_server_drain, command_server_maintenance, command_server_activate,
    command_server_remove, command_server_forget;
command_fn command_target_ls, command_target_drain, command_target_remove;
command_fn command_job_ls, command_job_show, command_job_set, command_job_pause, command_job_resume,
    command_job_cancel;
command_fn command_config_get, command_config_set, command_config_show;
command_fn command_mount, command_umount;
command_fn command_dev_up, command_dev_down, command_dev_status, command_dev_kill,
    command_dev_start, command_dev_add_meta, command_dev_remove_meta, command_dev_add_chunk,
    command_dev_remove_chunk;
command_fn command_replicas_set, command_replicas_get;
command_fn command_ls, command_stat, command_cat, command_mkdir, command_rm, command_mv, command_cp;

#endif
