/* What a metaserver's folder holds, as `cairn-metaserver --force-new-cluster yes` tells it
 * (metaserver/recover.c), and the confirmation of a recovery. Pure. */
#ifndef CAIRN_TOOLS_RECOVER_H
#define CAIRN_TOOLS_RECOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/checksum.h"

enum { RECOVER_MEMBERS_MAX = 16, RECOVER_TEXT_MAX = 4096, RECOVER_ADDRESS_MAX = 300 };

struct recover_member {
    uint32_t node;
    bool is_voter;
    char address[RECOVER_ADDRESS_MAX];
};

struct recover_survey {
    uint32_t node;
    char cluster[UUID_TEXT_SIZE];
    char data[RECOVER_TEXT_MAX];
    bool is_whole; /* false: its past was lost before, and it was being refilled */
    uint64_t applied_index, last_index, last_term;
    int64_t time_ns; /* of the last change in its log; 0 = unknown */
    unsigned member_count;
    struct recover_member members[RECOVER_MEMBERS_MAX]; /* itself among them, if it is one */
};

/* False when the text is not one, or not complete. */
bool recover_survey_parse(const char *text, struct recover_survey *ret_survey);
/* "yes" in full, or at least eight characters of the beginning of the cluster's id. */
bool recover_is_confirmed(const struct recover_survey *s, const char *typed);

#endif
