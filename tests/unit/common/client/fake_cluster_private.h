/* Between the two halves of the fake cluster. */
#ifndef CAIRN_TESTS_FAKE_CLUSTER_PRIVATE_H
#define CAIRN_TESTS_FAKE_CLUSTER_PRIVATE_H

#include "tests/unit/common/client/fake_cluster.h"

void fake_cluster_serve_meta(struct fake_cluster *k);
bool fake_cluster_is_writing(const struct fake_cluster *k, uint64_t inode);

#endif
