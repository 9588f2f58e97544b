/* cairn mount, cairn umount. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/dev_cluster.h"

int command_mount(const struct arguments *a)
{
    char program[DEV_PATH_MAX + 64];
    const char *options = option_text(a, "options");
    dev_program_path(DEV_MOUNT, program);
    (void)execlp(program, "cairn-mount", a->words[0], a->words[1], options ? "-o" : (char *)NULL,
                 options, (char *)NULL);
    return complain_text(EXIT_ERROR, "cannot run %s: %s", program, strerror(errno));
}

int command_umount(const struct arguments *a)
{
    const char *folder = a->words[0];
    int flags = option_given(a, "force") ? MNT_DETACH | UMOUNT_NOFOLLOW : UMOUNT_NOFOLLOW;
    if (geteuid() == 0) {
        if (umount2(folder, flags) == 0)
            return EXIT_GOOD;
        if (errno == EINVAL)
            return complain_text(EXIT_NOTHING, "%s is not mounted", folder);
        return complain_text(
            EXIT_ERROR, "cannot unmount %s: %s%s", folder, strerror(errno),
            errno == EBUSY ? "\n  files are open there; close them, or: cairn umount --force" : "");
    }
    (void)execlp("fusermount3", "fusermount3", "-u", option_given(a, "force") ? "-z" : "--", folder,
                 (char *)NULL);
    return complain_text(EXIT_ERROR, "cannot run fusermount3: %s", strerror(errno));
}
