/* The suites of test-chunkserver. */
#ifndef CAIRN_TESTS_UNIT_CHUNKSERVER_SUITES_H
#define CAIRN_TESTS_UNIT_CHUNKSERVER_SUITES_H

#include "tests/unit/chunkserver/fixture.h"

extern CU_TestInfo view_tests[], lease_tests[], option_tests[], life_tests[], daemon_tests[],
    cluster_tests[], load_tests[], left_tests[], inventory_tests[];

#endif
