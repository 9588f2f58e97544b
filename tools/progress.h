/* How far a job is, from what the leader says again and again: never backwards, with a rate over a
 * window and the time that is left. Pure. */
#ifndef CAIRN_TOOLS_PROGRESS_H
#define CAIRN_TOOLS_PROGRESS_H

#include "common/wire/codec.h"

enum {
    /* Slots of a full server end every few seconds; over a minute their sum is smooth. */
    PROGRESS_WINDOW_MS = 60000,
    PROGRESS_SAMPLE_MS = 1000,
    PROGRESS_SAMPLES = PROGRESS_WINDOW_MS / PROGRESS_SAMPLE_MS + 2,
    PROGRESS_SPAN_MS = 3000, /* a rate over less says nothing */
};
#define PROGRESS_NO_ETA UINT64_MAX

struct progress_sample {
    uint64_t at_ms, bytes;
    uint32_t slots;
};

struct progress {
    unsigned count, first; /* a ring of samples */
    struct progress_sample samples[PROGRESS_SAMPLES];
    /* As shown; those that say "done" never fall. */
    uint64_t chunks_done, bytes_done, chunks_left, bytes_left;
    uint32_t slots_done, slots_left, slots_moving, slots_blocked;
    unsigned permille; /* 1000 only when the job is done */
    uint64_t rate;     /* bytes a second; 0 = unknown */
    uint64_t eta_ms;   /* PROGRESS_NO_ETA = unknown */
    uint8_t state;     /* enum job_state */
};

void progress_init(struct progress *p);
/* now_ms: any clock that does not go back. */
void progress_add(struct progress *p, const struct rec_job_info *job, uint64_t now_ms);
/* From one answer alone, for lists: the leader's rate. */
struct progress progress_of(const struct rec_job_info *job);

#endif
