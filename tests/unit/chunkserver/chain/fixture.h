/* A core under test, fed by hand. */
#ifndef CAIRN_TESTS_UNIT_CHAIN_FIXTURE_H
#define CAIRN_TESTS_UNIT_CHAIN_FIXTURE_H

#include "chunkserver/chain/chain.h"

enum { SELF = 2, COPIES = 3, SHARD = 7 };

extern struct chain *core;
extern struct chain_work_list work; /* of the last step */
extern int64_t now_ms;
extern const struct chunk_id chunk_a, chunk_b;

void core_start(void); /* set-up: lease valid, simulated payloads, no view */
void core_start_with(const struct chain_options *options);
void core_stop(void);
void core_options(struct chain_options *ret_options);

void step(struct chain_event *event);
void tick(int64_t ms);
void lease(int64_t ms);
/* Targets in write order; the first `insync` of them in sync; ends with 0. */
void view(uint64_t epoch, unsigned insync, const uint32_t *targets);
void view_fenced(uint64_t epoch, unsigned insync, const uint32_t *targets, uint32_t fence_ms);
#define CHAIN_OF(...) ((const uint32_t[]){__VA_ARGS__, 0})

void client_write(uint64_t request, uint64_t epoch, uint64_t op, uint32_t flags);
void client_change(uint64_t request, uint64_t epoch, uint64_t op, uint8_t kind);
void client_read(uint64_t request, uint64_t epoch);
void peer_op(uint64_t request, uint64_t epoch, uint32_t sender, uint8_t kind, uint64_t seq,
             uint64_t previous_seq);

unsigned work_count(enum chain_work_kind kind);
/* The n-th item of that kind of the last step; a zeroed one when there is none. */
struct chain_work work_at(enum chain_work_kind kind, unsigned n);
void done(uint64_t id, int status);
void loaded(uint64_t id, bool exists, uint64_t epoch, uint64_t seq, bool suspect);
void listed(uint64_t id, const struct chain_inventory *entries, uint32_t count);
void crcs_known(uint64_t id, const uint32_t *crcs, uint32_t count);
/* The answer to `request` in the last step, 1 when there is none. */
int reply_of(uint64_t request);

#endif
