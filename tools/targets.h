/* Targets as people name them, and servers as the sum of their targets. A server with several disks
 * has a target for each: c3.1, c3.2. Pure; lists point into the status they were made of. */
#ifndef CAIRN_TOOLS_TARGETS_H
#define CAIRN_TOOLS_TARGETS_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/wire/codec.h"

enum {
    TARGETS_CHOSEN_MAX = 64, /* of one job, as the metaservers take them */
    TARGET_NAME_MAX = 64,
    TARGETS_TEXT_MAX = 256,
};

/* ---- chosen by names ---- */
struct target_set {
    unsigned count;
    struct rec_target_ref refs[TARGETS_CHOSEN_MAX]; /* ascending */
    char text[TARGETS_TEXT_MAX];                    /* the names as they were given: "c3 c4" */
    bool is_whole; /* whole chunkservers: none of their targets is missing */
};

/* A name means the target of that name and, unless `exact`, all that begin with "NAME.".
 * -ERR_NO_ENTRY names the nearest, -ERR_LIMIT when there are more than TARGETS_CHOSEN_MAX. */
int targets_choose(const struct msg_status_r *s, const char *const *names, unsigned name_count,
                   bool exact, struct target_set *ret_set, struct err_text *why);
struct wire_list target_refs(const struct target_set *set);

/* With the targets of a job, ascending as the metaservers keep them: the same; some in common. */
bool target_set_is(const struct target_set *set, struct slice targets);
bool target_set_meets(const struct target_set *set, struct slice targets);

bool target_find(const struct msg_status_r *s, uint32_t target, struct rec_target_status *ret);
/* "c3"; "#7" for one that is not in the list. */
const char *target_name(const struct msg_status_r *s, uint32_t target,
                        char ret_name[TARGET_NAME_MAX]);
/* Of a job: "c3 c4.1"; all targets of a server are called by its name. */
const char *targets_text(const struct msg_status_r *s, struct slice targets,
                         char ret_text[TARGETS_TEXT_MAX]);

/* ---- servers ---- */
struct server_row {
    char name[TARGET_NAME_MAX];   /* c3; of a server with one target the target's */
    char zone[TARGET_NAME_MAX];   /* "-" when the host text has none */
    struct rec_target_status sum; /* of its targets: numbers added, texts of the first, heard_ms of
                                     the one silent longest */
    unsigned targets, targets_up, targets_out;
    const char *condition; /* see target_condition; "mixed" when they differ */
};

/* "active", "draining", "drained", "maintenance", "down", "out", "failed". */
const char *target_condition(const struct rec_target_status *t);
/* The rows of all servers in the order of the list, on the heap; the caller frees them. */
struct server_row *servers_of(const struct msg_status_r *s, unsigned *ret_count);
struct server_row server_of_target(const struct rec_target_status *t);
const char *target_admin_name(uint8_t admin);

#endif
