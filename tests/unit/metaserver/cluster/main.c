/* Runs the tests of the planners. */
#include "tests/unit/metaserver/cluster/cluster_fixture.h"

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {suite_plan,       suite_drain,       suite_drain_plan,
                             suite_drain_jobs, suite_maintenance, suite_life,
                             suite_balance,    suite_capacity,    CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
