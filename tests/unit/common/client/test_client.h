/* The suites of test-common-client. */
#ifndef CAIRN_TESTS_TEST_CLIENT_H
#define CAIRN_TESTS_TEST_CLIENT_H

#include "tests/lib/tap.h"

extern CU_TestInfo tests_op[], tests_client[], tests_session[];
void client_setup(void);
void client_teardown(void);

#endif
