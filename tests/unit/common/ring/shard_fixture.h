/* Shard tables for tests: targets by number, events in one call each, slots as text. */
#ifndef CAIRN_TESTS_RING_SHARD_FIXTURE_H
#define CAIRN_TESTS_RING_SHARD_FIXTURE_H

#include "common/ring/shard_table.h"
#include "tests/lib/tap.h"

extern CU_SuiteInfo suite_ring, suite_placement, suite_rules, suite_codec, suite_move, suite_remove,
    suite_oracle, suite_form;

struct fixture {
    struct shard_table table;
    uint64_t version; /* of the last command */
};

/* `target_count` targets, each on its own host and registered with incarnation 1; one table with
 * `copies` copies is formed (0: none). */
void fixture_init(struct fixture *f, unsigned target_count, uint32_t shard_count, unsigned copies);
void fixture_release(struct fixture *f);

struct uuid fixture_uuid(uint32_t number);
int fixture_register(struct fixture *f, uint32_t number, uint64_t incarnation);
/* Declares up to three targets dead in one command, with their present incarnations; 0 = none. */
bool fixture_offline(struct fixture *f, uint32_t a, uint32_t b, uint32_t c);
bool fixture_report(struct fixture *f, unsigned copies, uint32_t shard, uint64_t epoch,
                    uint32_t target, enum shard_report_kind kind, uint32_t reporter);
/* The same for the present epoch. */
bool fixture_synced(struct fixture *f, unsigned copies, uint32_t shard, uint32_t target,
                    uint32_t reporter);
bool fixture_out_of_sync(struct fixture *f, unsigned copies, uint32_t shard, uint32_t target,
                         uint32_t reporter);
bool fixture_replace(struct fixture *f, unsigned copies, uint32_t shard, uint32_t old_target,
                     uint32_t new_target);
bool fixture_left(struct fixture *f, unsigned copies, uint32_t shard, uint32_t target);
bool fixture_move(struct fixture *f, unsigned copies, uint32_t shard, uint32_t outgoing,
                  uint32_t incoming);
bool fixture_move_cancel(struct fixture *f, unsigned copies, uint32_t shard);

/* Up to two, 0 = none; drops them when nobody holds them. 0 or why not. */
int fixture_remove(struct fixture *f, uint32_t a, uint32_t b, bool data_loss);
void fixture_drop_removed(struct fixture *f);

/* "1I 2O 3S" in slot order: target id and the state's letter. Then " +4S for 1" for a move, " -1"
 * for one that has left. */
const char *fixture_slots(const struct fixture *f, unsigned copies, uint32_t shard);
uint64_t fixture_epoch(const struct fixture *f, unsigned copies, uint32_t shard);
/* Puts the chain in a known order: targets 1..copies, all in sync. */
void fixture_order(struct fixture *f, unsigned copies, uint32_t shard);
bool fixture_sound(const struct fixture *f); /* shard_table_check, prints what is wrong */
bool fixture_equal(const struct shard_table *a, const struct shard_table *b);

#define EXPECT_SLOTS(f, copies, shard, text) \
    CU_ASSERT_STRING_EQUAL(fixture_slots(f, copies, shard), text)

#endif
