/* Suites of this program. */
#ifndef CAIRN_TEST_BASE_H
#define CAIRN_TEST_BASE_H

#include <CUnit/CUnit.h>

extern CU_TestInfo conf_tests[];

#endif
