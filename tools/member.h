/* Single metaservers: asked directly, whether they lead or not. One thread. */
#ifndef CAIRN_TOOLS_MEMBER_H
#define CAIRN_TOOLS_MEMBER_H

#include "common/client/client.h"
#include "common/wire/codec.h"
#include "tools/command.h"

enum { MEMBERS_MAX = 16, MEMBER_ASK_MS = 3000 };

/* One request to `address`; the answer's body is appended to `out`. Waits at most deadline_ms.
 * `why` tells a person what the server or the network said. */
int member_ask(const char *address, uint16_t code, struct slice body, unsigned deadline_ms,
               uint16_t wanted_code, struct bytes *out, struct err_text *why);

/* What one says about itself; `bytes` is what `ret` points into. */
int member_fetch(const char *address, struct bytes *bytes, struct msg_meta_member_r *ret,
                 struct err_text *why);

struct member {
    uint32_t node;
    char address[CLIENT_ADDRESS_SIZE];
    int status;          /* 0: `said` is its answer */
    struct err_text why; /* of the status */
    struct bytes bytes;  /* what `said` points into */
    struct msg_meta_member_r said;
    uint8_t space_level; /* enum space_level, with the next two out of its answer */
    uint64_t space_free;
    struct slice space_place;
    /* What the leader knows. */
    bool is_up, is_voter, is_joining;
    uint64_t match_index;
};

struct members {
    unsigned count;
    struct member items[MEMBERS_MAX];
    const struct member *leader; /* NULL = none of those that answered leads */
};

/* All metaservers of the cluster: by the answer of the leader, or while none is known of the first
 * one that can be reached; by number.
 * -ERR_CONFIG for a bad text, -ERR_UNREACHABLE when none answers. */
int members_fetch(const char *cluster, struct members *ret_members, struct err_text *why);
/* The same for the cluster that the options name; prints why not, and returns an exit code. */
int members_of(const struct arguments *a, struct members *ret_members);
/* The same, and -ERR_NOT_LEADER's exit code when nobody leads. */
int members_with_leader(const struct arguments *a, struct members *ret_members);
void members_release(struct members *m);
/* "m2" or "2"; NULL when there is none of this number. */
const struct member *members_find(const struct members *m, const char *name);

#endif
