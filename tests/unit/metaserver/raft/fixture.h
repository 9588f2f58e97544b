/* One core under test (node 1); the test plays its peers, its disk and its clock. */
#ifndef CAIRN_TESTS_RAFT_FIXTURE_H
#define CAIRN_TESTS_RAFT_FIXTURE_H

#include "metaserver/raft/raft.h"
#include "tests/lib/tap.h"

extern struct raft *node;
extern struct raft_update update; /* of the last event that was taken */
extern uint64_t now_ms;

/* Suite set-up and tear-down; the latter checks all invariants once more. */
void fixture_setup(void);
void fixture_teardown(void);

/* Replaces the node. `terms` lists the durable entries from index 1, one digit each. */
void restart(unsigned voter_count, uint64_t term, uint32_t voted_for, const char *terms);
void restart_with(const struct raft_options *options, unsigned voter_count, uint64_t term,
                  uint32_t voted_for, const char *terms);

int step(struct raft_event event); /* at now_ms; runs raft_check */
int tick(uint64_t forward_ms);
int receive(struct raft_message message); /* to node 1 */
int propose(unsigned count);
void persist(void); /* reports the newest write as durable */

/* An append of node 2 in `term` after (prev, prev_term) with entries of the given terms. */
int append(uint64_t term, uint64_t prev, uint64_t prev_term, const char *terms, uint64_t commit);
/* The answer of `from` to the newest append or notice that was sent to it. */
int answer(uint32_t from, uint64_t match_index);
int refuse(uint32_t from, uint64_t hint_index, uint64_t hint_term);

void elect(void); /* node 1 of several wins an election; its no-op is not durable yet */
void lead(void);  /* and everybody has the no-op */

/* The first or the newest message of a kind in the last update, NULL if none. */
const struct raft_message *sent(enum raft_message_kind kind, uint32_t to);
bool sent_durable(enum raft_message_kind kind, uint32_t to);
struct raft_status status(void);
const char *log_terms(void); /* terms of the log in memory, one digit each */

#endif
