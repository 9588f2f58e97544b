/* The tests of each file, listed in main.c. */
#ifndef CAIRN_TESTS_UNIT_TOOLS_TEST_TOOLS_H
#define CAIRN_TESTS_UNIT_TOOLS_TEST_TOOLS_H

#include "tests/lib/tap.h"

extern CU_TestInfo tests_command[], tests_dev_cluster[], tests_health[], tests_job_text[],
    tests_job_wait[], tests_progress[], tests_recover[], tests_text[];

#endif
