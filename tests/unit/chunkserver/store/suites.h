/* The test lists of this program, one per file. */
#ifndef CAIRN_TESTS_UNIT_STORE_SUITES_H
#define CAIRN_TESTS_UNIT_STORE_SUITES_H

#include "tests/lib/tap.h"

extern CU_TestInfo store_operation_tests[];
extern CU_TestInfo store_crash_tests[];
extern CU_TestInfo store_disk_tests[];
extern CU_TestInfo store_kill_tests[];
extern CU_TestInfo store_left_tests[];
extern CU_TestInfo store_strays_tests[];
extern CU_TestInfo store_thread_tests[];

#endif
