/* test-fuse: the parts without a kernel, then a real mount where one is possible. */
#include <stdio.h>

#include "tests/unit/fuse/test_fuse.h"

int main(int argc, char **argv)
{
    CU_SuiteInfo all[] = {
        {"fuse/pure", NULL, NULL, NULL, NULL, tests_pure},
        {"fuse/mount", mount_suite_init, mount_suite_clean, NULL, NULL, tests_mount},
        CU_SUITE_INFO_NULL,
    };
    CU_SuiteInfo pure[] = {all[0], CU_SUITE_INFO_NULL};
    if (!mount_is_possible())
        puts("# fuse/mount is skipped: it needs root and /dev/fuse");
    return tap_run(mount_is_possible() ? all : pure, argc, argv);
}
