/* cairn ls, stat, cat, mkdir, rm, mv: past the mount. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"
#include "tools/commands.h"
#include "tools/place.h"
#include "tools/text.h"

enum { PIECE_SIZE = 4 << 20 };

typedef int path_fn(struct blocking_client *b, const struct arguments *a, const char *path);

/* Runs `each` on every word, all of which must be in the cluster; the worst exit code counts. */
static int for_each(const struct arguments *a, path_fn *each)
{
    char cluster[CLUSTER_TEXT_MAX];
    struct blocking_client *b;
    int worst = EXIT_GOOD, code = cluster_of(a, a->words[0], cluster);
    if (code == EXIT_GOOD)
        code = connect_to(cluster, true, &b);
    if (code != EXIT_GOOD)
        return code;
    for (unsigned i = 0; i < a->word_count; i++) {
        struct place p;
        if (place_parse(a->words[i], &p) != 0 || !p.is_remote)
            code = complain_text(
                EXIT_USAGE, "%s is not in a cluster\n  write cairn:/PATH or a path inside a mount",
                a->words[i]);
        else
            code = each(b, a, p.path);
        worst = code != EXIT_GOOD ? code : worst;
    }
    int status = blocking_stop(b);
    return worst == EXIT_GOOD && status != 0 ? complain(status, "closing") : worst;
}

static struct slice name_of(const char *name)
{
    return slice_str(name);
}

/* The folder that holds the last name of `path`. */
static int parent_of(struct blocking_client *b, const char *path, char folder[PATH_MAX],
                     const char **ret_name, struct wire_attr *ret_parent)
{
    int status = place_split(path, folder, ret_name);
    return status != 0 ? status : blocking_resolve(b, caller_self(), folder, ret_parent);
}

/* ---- ls ---- */

struct names {
    struct entry {
        char *name;
        struct wire_attr attr;
    } * items;
    size_t count, capacity;
};

static void take_name(void *arg, const struct client_dirent *d)
{
    struct names *n = arg;
    if (n->count == n->capacity) {
        n->capacity = n->capacity ? n->capacity * 2 : 64;
        n->items = realloc(n->items, n->capacity * sizeof *n->items);
        CHECK(n->items != NULL);
    }
    n->items[n->count].name = strndup((const char *)d->name.data, d->name.size);
    CHECK(n->items[n->count].name != NULL);
    n->items[n->count++].attr = d->attr;
}

static int compare_names(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void names_release(struct names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->items[i].name);
    free(n->items);
}

static int read_names(struct blocking_client *b, uint64_t inode, struct names *n)
{
    uint64_t cursor = 0;
    bool end = false;
    int status = 0;
    while (status == 0 && !end)
        status = blocking_readdir(b, caller_self(), inode, &cursor, take_name, n, &end);
    if (n->count)
        qsort(n->items, n->count, sizeof *n->items, compare_names);
    return status;
}

static void mode_text(uint32_t mode, char ret[11])
{
    static const char letters[] = "?pc?d?b?-?l?s???";
    static const char rwx[] = "rwxrwxrwx";
    ret[0] = letters[mode >> 12 & 15];
    for (int i = 0; i < 9; i++)
        ret[1 + i] = mode & 0400u >> i ? rwx[i] : '-';
    if (mode & 04000)
        ret[3] = mode & 0100 ? 's' : 'S';
    if (mode & 02000)
        ret[6] = mode & 0010 ? 's' : 'S';
    if (mode & 01000)
        ret[9] = mode & 0001 ? 't' : 'T';
    ret[10] = '\0';
}

static void time_text(int64_t ns, char ret[32])
{
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm parts;
    (void)localtime_r(&seconds, &parts);
    (void)strftime(ret, 32, "%Y-%m-%d %H:%M:%S", &parts);
}

static void print_entry(const struct arguments *a, const char *name, const struct wire_attr *attr)
{
    char mode[11], when[32];
    if (!option_given(a, "long")) {
        (void)printf("%s\n", name);
        return;
    }
    mode_text(attr->mode, mode);
    time_text(attr->mtime_ns, when);
    (void)printf("%s %3u %5u %5u %12llu %s %s\n", mode, attr->nlink, attr->uid, attr->gid,
                 (unsigned long long)attr->size, when, name);
}

static int list_folder(struct blocking_client *b, const struct arguments *a, const char *path,
                       uint64_t inode)
{
    struct names n = {0};
    int code = EXIT_GOOD, status = read_names(b, inode, &n);
    if (status != 0)
        code = complain(status, "cannot list %s", path);
    for (size_t i = 0; i < n.count; i++)
        print_entry(a, n.items[i].name, &n.items[i].attr);
    for (size_t i = 0; option_given(a, "recursive") && i < n.count; i++) {
        char below[PATH_MAX];
        if (!S_ISDIR(n.items[i].attr.mode) || place_join(path, n.items[i].name, below) != 0)
            continue;
        (void)printf("\n%s:\n", below);
        int worse = list_folder(b, a, below, n.items[i].attr.inode);
        code = worse != EXIT_GOOD ? worse : code;
    }
    names_release(&n);
    return code;
}

static int list_one(struct blocking_client *b, const struct arguments *a, const char *path)
{
    struct wire_attr attr;
    int status = blocking_resolve(b, caller_self(), path, &attr);
    if (status != 0)
        return complain(status, "%s", path);
    if (!S_ISDIR(attr.mode)) {
        print_entry(a, path, &attr);
        return EXIT_GOOD;
    }
    if (a->word_count > 1)
        (void)printf("%s:\n", path);
    return list_folder(b, a, path, attr.inode);
}

int command_ls(const struct arguments *a)
{
    return for_each(a, list_one);
}

/* ---- stat ---- */

static int stat_one(struct blocking_client *b, const struct arguments *a, const char *path)
{
    struct wire_attr t;
    struct err_text why;
    char mode[11], when[32];
    bool json = false;
    int status = blocking_resolve(b, caller_self(), path, &t);
    if (option_json(a, &json, &why) != 0)
        return complain_text(EXIT_USAGE, "%s", why.text);
    if (status != 0)
        return complain(status, "%s", path);
    if (json) {
        json_t *v = json_pack("{s:s s:I s:i s:i s:i s:i s:I s:I s:I s:i}", "path", path, "inode",
                              (json_int_t)t.inode, "mode", (int)t.mode, "nlink", (int)t.nlink,
                              "uid", (int)t.uid, "gid", (int)t.gid, "size", (json_int_t)t.size,
                              "mtime_ns", (json_int_t)t.mtime_ns, "ctime_ns",
                              (json_int_t)t.ctime_ns, "replicas", (int)t.copies);
        (void)json_dumpf(v, stdout, 0);
        (void)putchar('\n');
        json_decref(v);
        return EXIT_GOOD;
    }
    mode_text(t.mode, mode);
    time_text(t.mtime_ns, when);
    (void)printf("  File: %s\n  Size: %llu   Inode: %llu   Links: %u   Replicas: %u\nAccess: "
                 "(%04o/%s)   Uid: %u   Gid: %u\nModify: %s\n",
                 path, (unsigned long long)t.size, (unsigned long long)t.inode, t.nlink, t.copies,
                 t.mode & 07777, mode, t.uid, t.gid, when);
    return EXIT_GOOD;
}

int command_stat(const struct arguments *a)
{
    return for_each(a, stat_one);
}

/* ---- cat ---- */

static int write_all(const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDOUT_FILENO, data, size);
        if (written < 0 && errno != EINTR)
            return err_from_errno(errno);
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
    }
    return 0;
}

static int cat_one(struct blocking_client *b, const struct arguments *a, const char *path)
{
    struct wire_attr attr;
    struct client_opened opened;
    (void)a;
    int status = blocking_resolve(b, caller_self(), path, &attr);
    if (status == 0)
        status = S_ISDIR(attr.mode)
                     ? -ERR_IS_DIR
                     : blocking_open(b, caller_self(), attr.inode, OPEN_READ, &opened);
    if (status != 0)
        return complain(status, "%s", path);
    uint8_t *data = malloc(PIECE_SIZE);
    CHECK(data != NULL);
    size_t size = 1;
    for (uint64_t at = 0; status == 0 && size > 0; at += size) {
        status = blocking_read(b, opened.handle, at, data, PIECE_SIZE, &size);
        if (status == 0)
            status = write_all(data, size);
    }
    free(data);
    (void)blocking_release(b, opened.handle);
    return status == 0 ? EXIT_GOOD : complain(status, "%s", path);
}

int command_cat(const struct arguments *a)
{
    return for_each(a, cat_one);
}

/* ---- mkdir ---- */

static int mkdir_one(struct blocking_client *b, const struct arguments *a, const char *path)
{
    char folder[PATH_MAX];
    const char *name;
    struct wire_attr parent, there;
    bool parents = option_given(a, "parents");
    if (parents && blocking_resolve(b, caller_self(), path, &there) == 0 && S_ISDIR(there.mode))
        return EXIT_GOOD;
    int status = parent_of(b, path, folder, &name, &parent);
    if (status == -ERR_NO_ENTRY && parents) {
        int code = mkdir_one(b, a, *folder ? folder : "/");
        if (code != EXIT_GOOD)
            return code;
        status = parent_of(b, path, folder, &name, &parent);
    }
    mode_t mask = umask(0);
    (void)umask(mask);
    if (status == 0)
        status = blocking_mkdir(b, caller_self(), parent.inode, name_of(name), 0777 & ~mask, NULL);
    return status == 0 ? EXIT_GOOD : complain(status, "cannot make %s", path);
}

int command_mkdir(const struct arguments *a)
{
    return for_each(a, mkdir_one);
}

/* ---- rm ---- */

static int remove_tree(struct blocking_client *b, const char *path, uint64_t parent,
                       const char *name, const struct wire_attr *attr)
{
    struct names n = {0};
    int code = EXIT_GOOD, status;
    if (!S_ISDIR(attr->mode)) {
        status = blocking_unlink(b, caller_self(), parent, name_of(name), NULL);
        return status == 0 ? EXIT_GOOD : complain(status, "cannot remove %s", path);
    }
    status = read_names(b, attr->inode, &n);
    for (size_t i = 0; status == 0 && i < n.count; i++) {
        char below[PATH_MAX];
        if (place_join(path, n.items[i].name, below) != 0)
            continue;
        int worse = remove_tree(b, below, attr->inode, n.items[i].name, &n.items[i].attr);
        code = worse != EXIT_GOOD ? worse : code;
    }
    names_release(&n);
    if (status == 0 && code == EXIT_GOOD)
        status = blocking_rmdir(b, caller_self(), parent, name_of(name), NULL);
    return status == 0 ? code : complain(status, "cannot remove %s", path);
}

static int remove_one(struct blocking_client *b, const struct arguments *a, const char *path)
{
    char folder[PATH_MAX];
    const char *name;
    struct wire_attr parent, attr;
    int status = parent_of(b, path, folder, &name, &parent);
    if (status == 0)
        status = blocking_lookup(b, caller_self(), parent.inode, name_of(name), &attr);
    if (status == -ERR_NO_ENTRY && option_given(a, "force"))
        return EXIT_GOOD;
    if (status == 0 && S_ISDIR(attr.mode) && !option_given(a, "recursive"))
        return complain_text(EXIT_ERROR, "%s is a folder\n  try: cairn rm -r", path);
    return status == 0 ? remove_tree(b, path, parent.inode, name, &attr)
                       : complain(status, "%s", path);
}

int command_rm(const struct arguments *a)
{
    return for_each(a, remove_one);
}

/* ---- mv ---- */

static int move(struct blocking_client *b, const char *from, const char *to)
{
    char from_folder[PATH_MAX], to_folder[PATH_MAX], inside[PATH_MAX];
    const char *from_name, *to_name;
    struct wire_attr from_parent, to_parent, there;
    int status = parent_of(b, from, from_folder, &from_name, &from_parent);
    if (status != 0)
        return status;
    if (blocking_resolve(b, caller_self(), to, &there) == 0 && S_ISDIR(there.mode)) {
        status = place_join(to, from_name, inside);
        to = inside;
    }
    if (status == 0)
        status = parent_of(b, to, to_folder, &to_name, &to_parent);
    if (status == 0)
        status = blocking_rename(b, caller_self(), from_parent.inode, name_of(from_name),
                                 to_parent.inode, name_of(to_name), 0, NULL);
    return status;
}

int command_mv(const struct arguments *a)
{
    char cluster[CLUSTER_TEXT_MAX];
    struct blocking_client *b;
    struct place from, to;
    if (place_parse(a->words[0], &from) != 0 || place_parse(a->words[1], &to) != 0 ||
        !from.is_remote || !to.is_remote)
        return complain_text(
            EXIT_USAGE, "both paths must be in the cluster\n  to bring files in or out: cairn cp");
    int code = cluster_of(a, a->words[0], cluster);
    if (code == EXIT_GOOD)
        code = connect_to(cluster, true, &b);
    if (code != EXIT_GOOD)
        return code;
    int status = move(b, from.path, to.path);
    (void)blocking_stop(b);
    return status == 0 ? EXIT_GOOD
                       : complain(status, "cannot move %s to %s", a->words[0], a->words[1]);
}
