/* Tests of common/net. */
#include "tests/lib/tap.h"

extern CU_SuiteInfo suite_loop, suite_work, suite_sock, suite_rpc, suite_rpc_limits, suite_hostile,
    suite_leader;

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {suite_loop,       suite_work,    suite_sock,   suite_rpc,
                             suite_rpc_limits, suite_hostile, suite_leader, CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
