/* Changes names as it is told, past FUSE, in one session that lives on while metaservers do not.
 *   names-client ADDRESS,...     reads commands, a line each; ends with its input
 *     mkdir PATH   create PATH   symlink PATH TARGET   rename PATH PATH   unlink PATH   rmdir PATH
 *     checkpoint   the leader writes one
 *     list         the tree, a line each: "d PATH", "f PATH" or "l PATH TARGET"
 * The answer ends with a line "ok" or "no ERROR"; at first there is one for the session. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/check.h"
#include "common/client/blocking.h"
#include "common/wire/codec.h"

enum { PATH_SIZE = 4096, LINE_SIZE = 16384, LISTED_MAX = 10000 };

static struct blocking_client *client;
static const struct client_caller root = {.uid = 0};

/* The inode of the folder of `path` and the name in it. */
static int parent_of(const char *path, uint64_t *ret_inode, struct slice *ret_name)
{
    char folder[PATH_SIZE];
    struct wire_attr attr;
    const char *slash = strrchr(path, '/');
    (void)snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 0, path);
    int status = blocking_resolve(client, &root, folder, &attr);
    if (status == 0) {
        *ret_inode = attr.inode;
        *ret_name = slice_str(slash ? slash + 1 : path);
    }
    return status;
}

static int rename_to(uint64_t parent, struct slice name, const char *path)
{
    uint64_t to_parent;
    struct slice to_name;
    int status = parent_of(path, &to_parent, &to_name);
    return status ? status
                  : blocking_rename(client, &root, parent, name, to_parent, to_name, 0, NULL);
}

static int change(const char *word, const char *path, const char *other)
{
    uint64_t parent;
    struct slice name;
    int status = parent_of(path, &parent, &name);
    if (status != 0)
        return status;
    if (strcmp(word, "mkdir") == 0)
        return blocking_mkdir(client, &root, parent, name, 0755, NULL);
    if (strcmp(word, "create") == 0)
        return blocking_mknod(client, &root, parent, name, S_IFREG | 0644, 0, NULL);
    if (strcmp(word, "symlink") == 0)
        return blocking_symlink(client, &root, parent, name, slice_str(other), NULL);
    if (strcmp(word, "rename") == 0)
        return rename_to(parent, name, other);
    if (strcmp(word, "unlink") == 0)
        return blocking_unlink(client, &root, parent, name, NULL);
    if (strcmp(word, "rmdir") == 0)
        return blocking_rmdir(client, &root, parent, name, NULL);
    return -ERR_INVALID;
}

/* ---- the tree ---- */

struct listed {
    unsigned count;
    struct found {
        uint64_t inode;
        uint32_t mode;
        char path[PATH_SIZE];
    } * found[LISTED_MAX];
};

struct folder {
    struct listed *all;
    const char *path;
};

static void on_entry(void *arg, const struct client_dirent *entry)
{
    const struct folder *f = arg;
    struct found *found = calloc(1, sizeof *found);
    CHECK(found != NULL && f->all->count < LISTED_MAX);
    *found = (struct found){.inode = entry->attr.inode, .mode = entry->attr.mode};
    (void)snprintf(found->path, sizeof found->path, "%s%s%.*s", f->path, f->path[0] ? "/" : "",
                   (int)entry->name.size, (const char *)entry->name.data);
    f->all->found[f->all->count++] = found;
}

static int list_folder(struct listed *all, const char *path, uint64_t inode)
{
    struct folder f = {all, path};
    uint64_t cursor = 0;
    bool end = false;
    int status = 0;
    while (status == 0 && !end)
        status = blocking_readdir(client, &root, inode, &cursor, on_entry, &f, &end);
    return status;
}

static int print(const struct found *found)
{
    struct bytes target = {0};
    int status = 0;
    if (S_ISLNK(found->mode))
        status = blocking_readlink(client, &root, found->inode, &target);
    printf("%c %s%s%.*s\n",
           S_ISDIR(found->mode)   ? 'd'
           : S_ISLNK(found->mode) ? 'l'
                                  : 'f',
           found->path, S_ISLNK(found->mode) ? " " : "", (int)target.size,
           (const char *)target.data);
    bytes_release(&target);
    return status;
}

static int list(void)
{
    static struct listed all;
    int status = list_folder(&all, "", ROOT_INODE);
    for (unsigned i = 0; i < all.count && status == 0; i++) { /* folders add to it */
        const struct found *found = all.found[i];
        status = print(found);
        if (status == 0 && S_ISDIR(found->mode))
            status = list_folder(&all, found->path, found->inode);
    }
    while (all.count > 0)
        free(all.found[--all.count]);
    return status;
}

static int checkpoint(void)
{
    struct bytes body = {0}, answer = {0};
    struct err_text why = {""};
    uint16_t code;
    encode_meta_checkpoint(&body, &(struct msg_meta_checkpoint){0});
    int status =
        blocking_leader_call(client, MSG_meta_checkpoint, bytes_slice(&body), &code, &answer, &why);
    bytes_release(&body);
    bytes_release(&answer);
    return status;
}

int main(int argc, char **argv)
{
    static char line[LINE_SIZE];
    char why[BLOCKING_WHY_SIZE] = "";
    struct client_options options = {.cluster = argc == 2 ? argv[1] : "",
                                     .name = "names",
                                     .connect_ms = 60000,
                                     .no_cache = true};
    int status = blocking_start(&options, &client, why);
    if (status != 0) {
        (void)fprintf(stderr, "names-client: %s\n", why);
        return 1;
    }
    (void)setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    do {
        printf("%s%s\n", status ? "no " : "ok", status ? err_text(status) : "");
        (void)fflush(stdout);
        if (!fgets(line, sizeof line, stdin))
            break;
        char *rest = NULL, *word = strtok_r(line, " \n", &rest);
        const char *path = strtok_r(NULL, " \n", &rest), *other = strtok_r(NULL, " \n", &rest);
        if (word && strcmp(word, "list") == 0)
            status = list();
        else if (word && strcmp(word, "checkpoint") == 0)
            status = checkpoint();
        else
            status = word && path ? change(word, path, other ? other : "") : -ERR_INVALID;
    } while (true);
    (void)blocking_stop(client);
    return 0;
}
