/* Waiting for the end of a job, with progress for people or as events. */
#ifndef CAIRN_TOOLS_JOB_WAIT_H
#define CAIRN_TOOLS_JOB_WAIT_H

#include "tools/connect.h"
#include "tools/targets.h"

struct job_wait {
    struct blocking_client *client;    /* with a short deadline; borrowed */
    const struct msg_status_r *status; /* for names; borrowed */
    const struct target_set *set;
    uint32_t job;
    uint8_t kind;
    bool json;
};

/* Returns when it is done (EXIT_GOOD), cancelled (EXIT_CANCELLED) or was forgotten. A cluster that
 * does not answer is waited for without end: jobs go on by themselves. Ctrl-C ends this process
 * only, and says how to go on. */
int job_wait(const struct job_wait *w);

#endif
