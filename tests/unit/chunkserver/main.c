/* Runs the tests of chunkserver. */
#include <signal.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "tests/unit/chunkserver/suites.h"
#include "common/base/banned.h"

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"chunkserver/views", NULL, NULL, NULL, NULL, view_tests},
        {"chunkserver/lease", NULL, NULL, NULL, NULL, lease_tests},
        {"chunkserver/options", NULL, NULL, NULL, NULL, option_tests},
        {"chunkserver/life", NULL, NULL, fixture_setup, fixture_teardown, life_tests},
        {"chunkserver/daemon", NULL, NULL, fixture_setup, fixture_teardown, daemon_tests},
        {"chunkserver/cluster", NULL, NULL, fixture_setup, fixture_teardown, cluster_tests},
        {"chunkserver/left", NULL, NULL, fixture_setup, fixture_teardown, left_tests},
        {"chunkserver/inventory", NULL, NULL, fixture_setup, fixture_teardown, inventory_tests},
        {"chunkserver/load", NULL, NULL, fixture_setup, fixture_teardown, load_tests},
        CU_SUITE_INFO_NULL};
    (void)signal(SIGPIPE, SIG_IGN);
    if (log_open(NULL, getenv("LOG") ? LOG_DEBUG : LOG_ERROR) != 0)
        return 1;
    return tap_run(suites, argc, argv);
}
