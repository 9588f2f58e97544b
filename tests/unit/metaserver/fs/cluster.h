/* A cluster of chunkservers in a state machine to test: commands about targets and shards. */
#ifndef CAIRN_TESTS_FS_CLUSTER_H
#define CAIRN_TESTS_FS_CLUSTER_H

#include "metaserver/fs/job.h"
#include "tests/unit/metaserver/fs/fixture.h"

enum { TARGETS = 6, COPIES = 2, SHARDS = 8 };

extern struct machine m; /* the one that all of these are about */

/* A process of chunkserver `number` registers. */
int enlist(uint32_t number, uint64_t incarnation);
/* Six servers with a table of `copies` copies of 8 shards; 0: no table. */
void form(unsigned copies);
int drain(uint32_t a, uint32_t b); /* b 0 = only one */
struct msg_job_start_r started(void);

/* Of the table with COPIES copies. */
const struct shard *shard_of(uint32_t shard);
struct chain_view chain_of(uint32_t shard);
int change(uint32_t shard, uint32_t from, uint32_t to);
int report_at(uint32_t shard, uint64_t epoch, uint32_t target, enum shard_report_kind kind,
              uint32_t reporter, uint64_t chunks);
void synced(uint32_t shard, uint32_t target, uint64_t chunks);
void left(uint32_t shard, uint32_t target);
int offline(uint32_t target);
/* One of those that have no slot of it. */
uint32_t stranger(uint32_t shard, unsigned number);

#endif
