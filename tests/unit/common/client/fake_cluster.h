/* A metaserver and three chunkservers in the test's own process, behind real rpc servers: chunks in
 * memory, faults on demand. Replicas share their bytes; what differs is who answers how. */
#ifndef CAIRN_TESTS_FAKE_CLUSTER_H
#define CAIRN_TESTS_FAKE_CLUSTER_H

#include "common/base/list.h"
#include "common/base/prng.h"
#include "common/net/rpc_server.h"
#include "common/ring/shard_table.h"

enum { FAKE_TARGETS = 3, FAKE_COPIES = 2, FAKE_CHUNKS = 64, FAKE_FILES = 64, FAKE_OPS = 8192 };

struct fake_chunk {
    struct chunk_id id; /* inode 0 = free */
    uint8_t *data;
    uint8_t *written; /* per block: has a crc */
    uint32_t length;
    uint8_t copies; /* the table that it was made in */
    bool unsynced;
};

struct fake_target {
    struct fake_cluster *cluster;
    struct rpc_server *server;
    struct rpc_identity identity;
    uint32_t id;
    int fail_status; /* of the next fail_count requests; 0 = no answer at all */
    unsigned fail_count;
    bool corrupt; /* spoils what it sends */
    bool lost;    /* has no chunks */
    unsigned reads, suspects;
};

struct fake_cluster {
    struct loop *loop;
    struct rpc_server *meta;
    struct rpc_identity identity;
    struct shard_table table;
    struct fake_target target[FAKE_TARGETS];
    struct fake_chunk chunks[FAKE_CHUNKS];
    struct wire_attr files[FAKE_FILES]; /* by inode */
    struct rec_chunk_slot slots[FAKE_FILES][16];
    unsigned slot_count[FAKE_FILES];
    uint32_t moved_generation[FAKE_FILES];
    uint64_t index, session, inode_count;
    struct {
        uint64_t session, op;
    } ops[FAKE_OPS];
    unsigned op_count;
    struct list held; /* requests whose answers wait */
    struct prng prng;
    unsigned delay_ms;        /* answers come up to so much later */
    unsigned fault_per_mille; /* of chunk requests: closed before or after, or a passing error */
    unsigned moves_disturbed; /* so many moves find at their end that somebody wrote */
    bool keep_garbage;        /* the old chunks of a moved file stay */
    bool hold;                /* chunk writes are not answered until it is false */

    /* what was seen */
    unsigned writes, reads, changes, syncs, commits, setattrs, overlaps, crc_wrong, repeats;
    unsigned commit_unsynced; /* commits while a chunk of the file was not synced */
    unsigned moves;           /* that ended well */
    unsigned move_unsynced;   /* chunks that were not stable, or not there, when their move ended */
    unsigned commit_early;    /* commits while a change of the file was not answered */
    uint64_t bytes_held, bytes_held_max;
};

struct fake_cluster *fake_cluster_create(struct loop *loop, uint64_t seed);
void fake_cluster_destroy(struct fake_cluster *k);
/* Another client cuts the file to nothing. */
void fake_cluster_cut(struct fake_cluster *k, uint64_t inode);
/* The lease of the target at the head of the chunk's chain runs out. */
void fake_cluster_drop_head(struct fake_cluster *k, uint64_t inode, uint32_t index);
struct fake_target *fake_cluster_member(struct fake_cluster *k, uint64_t inode, uint32_t index,
                                        unsigned place);

#endif
