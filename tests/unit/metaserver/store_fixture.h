/* A fresh folder per test, entries that can be recognised, and a model of a log. */
#ifndef CAIRN_TESTS_UNIT_METASERVER_STORE_FIXTURE_H
#define CAIRN_TESTS_UNIT_METASERVER_STORE_FIXTURE_H

#include <stdint.h>

#include "common/base/prng.h"
#include "metaserver/log_gather.h"
#include "metaserver/log_store.h"
#include "tests/lib/tap.h"

extern CU_TestInfo log_tests[];
extern CU_TestInfo log_random_tests[];
extern CU_TestInfo log_damage_tests[];
extern CU_TestInfo log_fault_tests[];
extern CU_TestInfo damage_large_tests[];
extern CU_TestInfo log_space_tests[];
extern CU_TestInfo vote_tests[];
extern CU_TestInfo standing_tests[];
extern CU_TestInfo checkpoint_tests[];

extern char fixture_folder[]; /* empty, exists */
extern const struct uuid fixture_cluster;
enum { FIXTURE_NODE = 3 };

void fixture_setup(void);
void fixture_teardown(void);
uint64_t fixture_seed(void); /* SEED from the environment, or a fixed one */

/* The data of an entry follows from (index, term): so any mix-up shows. */
enum { ENTRY_DATA_MAX = 9000 };
struct log_entry entry_make(uint64_t index, uint64_t term, uint8_t data[ENTRY_DATA_MAX]);
bool entry_right(const struct log_entry *entry, uint64_t term);

/* What the log must hold: the term of each index from first to last. */
enum { MODEL_MAX = 20000 };
struct model {
    uint64_t first, last;
    uint64_t terms[MODEL_MAX];
};
void model_init(struct model *m);

/* Opens fixture_folder/log with small segments, and compares what recovery handed over with what is
 * read back. */
int log_reopen(struct log_store **store, struct log_recovery *ret_recovery, uint64_t segment_size);
/* Appends model entries [from..from + count) with `term`, to the model, too. */
int log_put(struct log_store *store, struct model *m, uint64_t from, unsigned count, uint64_t term);
/* Reads first..last of the model back and compares. */
bool log_equals(struct log_store *store, const struct model *m);

/* Flips bits at an offset of a file in fixture_folder. */
void file_flip(const char *name, uint64_t offset, uint8_t mask);
/* The name of the n-th file whose name begins so, in order; "" when there is none. */
const char *file_find(const char *folder, const char *prefix, unsigned n);

#endif
