/* CUnit with one line per test. */
#include "tests/lib/tap.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <CUnit/TestRun.h>
#include <CUnit/TestDB.h>

static unsigned tests_failed, tests_run;

static void on_complete(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failure)
{
    tests_run++;
    tests_failed += failure != NULL;
    printf("%s %s: %s\n", failure ? "not ok" : "ok", suite->pName, test->pName);
    for (CU_pFailureRecord f = failure; f; f = f->pNext)
        printf("#   %s:%u: %s\n", f->strFileName ? f->strFileName : "?", f->uiLineNumber,
               f->strCondition ? f->strCondition : "?");
    fflush(stdout);
}

static void on_suite_init_failure(const CU_pSuite suite)
{
    tests_failed++;
    printf("not ok %s: suite set-up\n", suite->pName);
}

static bool wanted(const char *suite, const char *test, int argc, char **argv)
{
    if (argc < 2)
        return true;
    for (int i = 1; i < argc; i++)
        if (strstr(suite, argv[i]) || strstr(test, argv[i]))
            return true;
    return false;
}

int tap_run(CU_SuiteInfo *suites, int argc, char **argv)
{
    if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS) {
        fprintf(stderr, "cannot register the suites: %s\n", CU_get_error_msg());
        return 2;
    }
    for (CU_pSuite suite = CU_get_registry()->pSuite; suite; suite = suite->pNext)
        for (CU_pTest test = suite->pTest; test; test = test->pNext)
            if (!wanted(suite->pName, test->pName, argc, argv))
                (void)CU_set_test_active(test, CU_FALSE);
    (void)CU_set_fail_on_inactive(CU_FALSE);
    CU_set_test_complete_handler(on_complete);
    CU_set_suite_init_failure_handler(on_suite_init_failure);
    (void)CU_run_all_tests();
    CU_cleanup_registry();
    return tests_failed || tests_run == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
