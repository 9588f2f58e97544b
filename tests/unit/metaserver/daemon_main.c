/* Runs the tests of the metaserver daemon: processes, killed and started again. */
#include "tests/unit/metaserver/daemon_fixture.h"

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"metaserver/clients", daemons_setup, daemons_teardown, NULL, NULL, daemon_client_tests},
        {"metaserver/targets", daemons_setup, daemons_teardown, NULL, NULL, daemon_target_tests},
        {"metaserver/jobs", daemons_setup, daemons_teardown, NULL, NULL, daemon_job_tests},
        {"metaserver/expiry", daemons_setup, daemons_teardown, NULL, NULL, daemon_expiry_tests},
        {"metaserver/space", daemons_setup, daemons_teardown, NULL, NULL, daemon_space_tests},
        CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
