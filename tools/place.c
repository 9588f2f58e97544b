/* Where a path of the command line is. */
#include "tools/place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int place_join(const char *folder, const char *name, char ret_path[PATH_MAX])
{
    size_t size = strlen(folder);
    bool slash = size == 0 || folder[size - 1] != '/';
    int length = snprintf(ret_path, PATH_MAX, "%s%s%s", folder, slash ? "/" : "", name);
    return length > 0 && length < PATH_MAX ? 0 : -ERR_NAME_TOO_LONG;
}

int place_split(const char *path, char ret_folder[PATH_MAX], const char **ret_name)
{
    size_t size = strlen(path);
    while (size > 0 && path[size - 1] == '/')
        size--;
    size_t at = size;
    while (at > 0 && path[at - 1] != '/')
        at--;
    if (size == at || size >= PATH_MAX)
        return -ERR_INVALID;
    memcpy(ret_folder, path, size);
    ret_folder[size] = '\0';
    *ret_name = ret_folder + at;
    if (at > 0)
        ret_folder[at - 1] = '\0';
    return 0;
}

/* The part of an absolute path behind the root of its mount. */
static void strip_mount(const char *real, char ret_path[PATH_MAX])
{
    char above[PATH_MAX];
    struct stat here, there;
    size_t root = strlen(real);
    (void)snprintf(above, sizeof above, "%s", real);
    if (stat(real, &here) != 0)
        here.st_dev = 0;
    for (;;) {
        char *slash = strrchr(above, '/');
        if (!slash)
            break;
        *slash = '\0';
        if (stat(*above ? above : "/", &there) != 0 || there.st_dev != here.st_dev)
            break;
        root = strlen(above);
    }
    (void)snprintf(ret_path, PATH_MAX, "%s", real[root] ? real + root : "/");
}

int place_parse(const char *text, struct place *ret_place)
{
    char cluster[CLUSTER_TEXT_MAX], real[PATH_MAX], folder[PATH_MAX];
    const char *name = NULL;
    ret_place->is_remote = strncmp(text, "cairn:", 6) == 0;
    if (ret_place->is_remote) {
        int size = snprintf(ret_place->path, PATH_MAX, "%s%s", text[6] == '/' ? "" : "/", text + 6);
        return size < PATH_MAX ? 0 : -ERR_NAME_TOO_LONG;
    }
    if (snprintf(ret_place->path, PATH_MAX, "%s", text) >= PATH_MAX)
        return -ERR_NAME_TOO_LONG;
    /* The last name may be missing yet, or a link that is meant itself: its folder decides. */
    if (place_split(text, folder, &name) != 0 || !realpath(*folder == '\0'     ? "/"
                                                           : strchr(text, '/') ? folder
                                                                               : ".",
                                                           real))
        return 0;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || cluster_of_path(text, cluster) == 0) {
        char whole[PATH_MAX];
        struct stat st;
        if (lstat(text, &st) == 0 && !S_ISLNK(st.st_mode) && realpath(text, whole) &&
            cluster_of_path(whole, cluster) == 0) {
            ret_place->is_remote = true;
            strip_mount(whole, ret_place->path);
            return 0;
        }
    }
    if (cluster_of_path(real, cluster) != 0)
        return 0;
    char inside[PATH_MAX];
    ret_place->is_remote = true;
    strip_mount(real, inside);
    return place_join(inside, name, ret_place->path);
}

const struct client_caller *caller_self(void)
{
    static struct client_caller caller;
    static gid_t groups[GROUPS_MAX];
    if (!caller.groups) {
        int count = getgroups(GROUPS_MAX, groups);
        caller.uid = geteuid();
        caller.gid = getegid();
        caller.group_count = count > 0 ? (unsigned)count : 0;
        caller.groups = groups;
    }
    return &caller;
}
