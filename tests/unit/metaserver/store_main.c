/* Runs the tests of the metaserver's log and checkpoints. */
#include "tests/unit/metaserver/store_fixture.h"
#include "common/base/banned.h"

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"metastore/log", NULL, NULL, fixture_setup, fixture_teardown, log_tests},
        {"metastore/random", NULL, NULL, fixture_setup, fixture_teardown, log_random_tests},
        {"metastore/damage", NULL, NULL, fixture_setup, fixture_teardown, log_damage_tests},
        {"metastore/large", NULL, NULL, fixture_setup, fixture_teardown, damage_large_tests},
        {"metastore/faults", NULL, NULL, fixture_setup, fixture_teardown, log_fault_tests},
        {"metastore/vote", NULL, NULL, NULL, NULL, vote_tests},
        {"metastore/standing", NULL, NULL, NULL, NULL, standing_tests},
        {"metastore/checkpoint", NULL, NULL, fixture_setup, fixture_teardown, checkpoint_tests},
        {"metastore/space", NULL, NULL, fixture_setup, fixture_teardown, log_space_tests},
        CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
