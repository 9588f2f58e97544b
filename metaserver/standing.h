/* What a data folder may take part in: whether it has promised anything yet, whether it may vote.
 *
 * One small file, `standing` (docs/disk-formats.md), replaced whole and synced before anybody is
 * told. It outlives everything else in the folder: a wiped disk has none, so it begins as NEW with
 * another life. Pure except for standing_load and standing_store, which block; any thread. */
#ifndef CAIRN_METASERVER_STANDING_H
#define CAIRN_METASERVER_STANDING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/checksum.h"
#include "common/base/err.h"
#include "metaserver/raft/raft.h"

enum standing_state {
    STANDING_NEW = 1, /* raft has never run in this folder: nothing was promised */
    STANDING_JOINING, /* it takes the log but gives no vote: raft.h, start.joining */
    STANDING_MEMBER,  /* it has its whole past */
};

struct standing_life {
    uint32_t id;
    uint64_t life;
};

struct standing {
    enum standing_state state;
    uint64_t life; /* of this folder, by chance when it was made; never 0 */
    /* How the cluster began; empty when this node does not know. The lives are those of its first
     * members at that moment: whoever still has that life has promised nothing before it. */
    struct raft_config first;
    unsigned life_count;
    struct standing_life lives[RAFT_VOTERS_MAX];
};

enum { STANDING_BYTES_MAX = 64 + RAFT_CONFIG_BYTES_MAX + RAFT_VOTERS_MAX * 12 };

size_t standing_pack(const struct standing *s, const struct uuid *cluster, uint32_t node,
                     uint8_t ret_bytes[STANDING_BYTES_MAX]);
/* -ERR_CORRUPT, -ERR_VERSION, -ERR_WRONG_CLUSTER (also for another node). */
int standing_unpack(struct slice bytes, const struct uuid *cluster, uint32_t node,
                    struct standing *ret_standing);

/* -ERR_NO_ENTRY when there is none, those of standing_unpack, -ERR_IO. */
int standing_load(const char *folder, const struct uuid *cluster, uint32_t node,
                  struct standing *ret_standing, struct err_text *why);
/* The name of what a standing_store that was killed leaves behind. */
bool standing_is_unfinished(const char *name);
/* Durable when it returns 0. */
int standing_store(const char *folder, const struct uuid *cluster, uint32_t node,
                   const struct standing *s);

/* What another metaserver says about itself in this round of questions, or that it did not. */
struct standing_answer {
    uint32_t id;
    bool is_known;
    bool is_confirmed; /* it said the same in the round before, which had ended before this began */
    struct standing said;
};

enum standing_verdict {
    STANDING_WAIT,  /* somebody who might know of a cluster has not answered */
    STANDING_FOUND, /* begin the cluster, or take part in its beginning */
    STANDING_JOIN,  /* there is a cluster, and it does not know this life */
};

/* The rule for a NEW folder: founded is only when all first members were NEW at one moment. Two
 * rounds of equal answers prove that such a moment lay between them, because a life is NEW once.
 * Whoever is found NEW later, in a life that the founders did not see, joins. `first` are the first
 * members as this node was told, `answers` are of all of them but itself. On FOUND and JOIN `s` is
 * what must be stored before raft starts. */
enum standing_verdict standing_decide(struct standing *s, uint32_t self,
                                      const struct raft_config *first,
                                      const struct standing_answer *answers, unsigned count);

#endif
