/* Runs CUnit suites and prints one line per test: "ok NAME" or "not ok NAME" (what check.sh
 * counts). */
#ifndef CAIRN_TESTS_LIB_TAP_H
#define CAIRN_TESTS_LIB_TAP_H

#include <CUnit/CUnit.h>

/* `suites` ends with CU_SUITE_INFO_NULL. Returns the exit code for main. With arguments, only the
 * suites or tests whose name contains one of them are run. */
int tap_run(CU_SuiteInfo *suites, int argc, char **argv);

#endif
