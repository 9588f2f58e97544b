/* Runs the unit tests of tools. */
#include "tests/unit/tools/test_tools.h"

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {{"tools/command", NULL, NULL, NULL, NULL, tests_command},
                             {"tools/dev_cluster", NULL, NULL, NULL, NULL, tests_dev_cluster},
                             {"tools/health", NULL, NULL, NULL, NULL, tests_health},
                             {"tools/job_text", NULL, NULL, NULL, NULL, tests_job_text},
                             {"tools/job_wait", NULL, NULL, NULL, NULL, tests_job_wait},
                             {"tools/progress", NULL, NULL, NULL, NULL, tests_progress},
                             {"tools/recover", NULL, NULL, NULL, NULL, tests_recover},
                             {"tools/text", NULL, NULL, NULL, NULL, tests_text},
                             CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
