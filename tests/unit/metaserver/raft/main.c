/* test-metaserver-raft: the consensus core, event by event. */
#include "tests/unit/metaserver/raft/fixture.h"

extern CU_TestInfo tests_election[], tests_follower[], tests_leader[], tests_membership[],
    tests_snapshot[];

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"raft/election", NULL, NULL, fixture_setup, fixture_teardown, tests_election},
        {"raft/follower", NULL, NULL, fixture_setup, fixture_teardown, tests_follower},
        {"raft/leader", NULL, NULL, fixture_setup, fixture_teardown, tests_leader},
        {"raft/membership", NULL, NULL, fixture_setup, fixture_teardown, tests_membership},
        {"raft/snapshot", NULL, NULL, fixture_setup, fixture_teardown, tests_snapshot},
        CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
