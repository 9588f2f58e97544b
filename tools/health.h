/* What a status means for a person: OK, WARN or ERR, and what to do. Pure. */
#ifndef CAIRN_TOOLS_HEALTH_H
#define CAIRN_TOOLS_HEALTH_H

#include "common/wire/codec.h"

enum health { HEALTH_OK, HEALTH_WARN, HEALTH_ERR };
enum { HEALTH_LINES_MAX = 16, HEALTH_LINE_MAX = 240 };

struct health_report {
    enum health health;
    unsigned line_count;
    char lines[HEALTH_LINES_MAX][HEALTH_LINE_MAX]; /* "CODE  what, impact; what to do" */
    unsigned metas_up, metas, targets_up, targets;
    uint64_t bytes_total, bytes_used, resync_bytes, resync_chunks, crc_errors, blocks_repaired;
};

/* What an operator asked for is no alarm: a target in maintenance, one that was drained. */
void health_judge(const struct msg_status_r *s, struct health_report *ret_report);
/* Adds jobs that cannot go on. */
void health_judge_jobs(const struct msg_status_r *s, const struct msg_job_list_r *jobs,
                       struct health_report *report);
/* Adds what one metaserver says about its own checkpoints. A failed one of the leader is in the
 * status already. */
void health_judge_member(const struct msg_meta_member_r *said, bool is_judged_leader,
                         struct health_report *report);
const char *health_name(enum health health);
const char *target_state_name(uint8_t state);
/* "ok", "low", "short", "none", "unheard" */
const char *space_level_name(uint8_t level);

#endif
