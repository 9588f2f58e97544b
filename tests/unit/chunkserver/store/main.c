/* Runs the tests of chunkserver/store. */
#include "tests/unit/chunkserver/store/fixture.h"
#include "tests/unit/chunkserver/store/suites.h"
#include "common/base/banned.h"

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"store/operations", NULL, NULL, fixture_setup, fixture_teardown, store_operation_tests},
        {"store/crash", NULL, NULL, fixture_setup, fixture_teardown, store_crash_tests},
        {"store/threads", NULL, NULL, fixture_setup, fixture_teardown, store_thread_tests},
        {"store/kill", NULL, NULL, fixture_setup, fixture_teardown, store_kill_tests},
        {"store/left", NULL, NULL, fixture_setup, fixture_teardown, store_left_tests},
        {"store/strays", NULL, NULL, fixture_setup, fixture_teardown, store_strays_tests},
        {"store/disk", NULL, NULL, NULL, NULL, store_disk_tests},
        CU_SUITE_INFO_NULL};
    int status = tap_run(suites, argc, argv);
    fixture_program_end();
    return status;
}
