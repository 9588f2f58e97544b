/* Chunkservers and their targets as tables and JSON. */
#ifndef CAIRN_TOOLS_SERVER_TEXT_H
#define CAIRN_TOOLS_SERVER_TEXT_H

#include <jansson.h>

#include "tools/targets.h"

/* One row for each server: all its targets. */
void servers_print(const struct msg_status_r *s);
json_t *servers_json(const struct msg_status_r *s);
/* One row for each target, with more about it. */
void targets_print(const struct msg_status_r *s);
json_t *targets_json(const struct msg_status_r *s);

#endif
