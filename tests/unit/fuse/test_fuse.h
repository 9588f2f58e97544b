/* The suites of test-fuse. */
#ifndef CAIRN_TESTS_TEST_FUSE_H
#define CAIRN_TESTS_TEST_FUSE_H

#include <stdbool.h>

#include "tests/lib/tap.h"

extern CU_TestInfo tests_pure[], tests_mount[];
int mount_suite_init(void);
int mount_suite_clean(void);
bool mount_is_possible(void);

#endif
