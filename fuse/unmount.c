/* Unmounting from inside. */
#include "fuse/unmount.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/banned.h"

static bool run_fusermount(const char *path, const char *option)
{
    pid_t child = fork();
    if (child == 0) {
        execlp("fusermount3", "fusermount3", option, path, (char *)NULL);
        _exit(127);
    }
    int status = 1;
    if (child > 0)
        (void)waitpid(child, &status, 0);
    return status == 0;
}

bool unmount_path(const char *path)
{
    if (geteuid() != 0) {
        if (run_fusermount(path, "-u"))
            return false;
        (void)run_fusermount(path, "-uz");
        return true;
    }
    if (umount2(path, UMOUNT_NOFOLLOW) == 0 || errno != EBUSY)
        return false;
    (void)umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH);
    return true;
}
