/* Runs the tests of the ring and of the shard table. */
#include "tests/unit/common/ring/shard_fixture.h"

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {suite_ring,   suite_placement, suite_rules,
                             suite_codec,  suite_move,      suite_remove,
                             suite_oracle, suite_form,      CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
