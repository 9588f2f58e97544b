/* The kernel's read-ahead for a mount. */
#include "fuse/bdi.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"

#include "common/base/banned.h"

int bdi_parse_line(const char *line, const char *path, unsigned *ret_major, unsigned *ret_minor)
{
    unsigned major_number = 0, minor_number = 0;
    char mounted[4096];
    /* id parent major:minor root mount-point ...; a space in a path is written \040 and then simply
     * does not match. */
    // NOLINTNEXTLINE(cert-err34-c) the kernel writes these numbers
    if (sscanf(line, "%*u %*u %u:%u %*s %4095s", &major_number, &minor_number, mounted) != 3)
        return -ERR_INVALID;
    if (strcmp(mounted, path) != 0)
        return -ERR_NO_ENTRY;
    *ret_major = major_number;
    *ret_minor = minor_number;
    return 0;
}

int bdi_set_read_ahead(const char *path, unsigned read_ahead_kb)
{
    char line[8192], knob[128];
    unsigned major_number = 0, minor_number = 0;
    bool found = false;
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (!mounts)
        return err_from_errno(errno);
    while (fgets(line, sizeof line, mounts))
        if (bdi_parse_line(line, path, &major_number, &minor_number) == 0)
            found = true; /* the last one lies on top */
    fclose(mounts);
    if (!found)
        return -ERR_NO_ENTRY;
    snprintf(knob, sizeof knob, "/sys/class/bdi/%u:%u/read_ahead_kb", major_number, minor_number);
    FILE *file = fopen(knob, "we");
    if (!file)
        return err_from_errno(errno);
    int written = fprintf(file, "%u\n", read_ahead_kb);
    int closed = fclose(file);
    return written > 0 && closed == 0 ? 0 : -ERR_IO;
}
