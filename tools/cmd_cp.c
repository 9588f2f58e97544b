/* cairn cp: bulk copies in and out of the cluster, past the mount. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/copy.h"
#include "tools/text.h"

/* Building the list: folders and links are made at once, files are noted. Returns an exit code. */
static int add_local(struct copy *c, const char *from, const char *to, bool recursive);
static int add_remote(struct copy *c, const char *from, const char *to,
                      const struct wire_attr *attr, bool recursive);

static int make_remote_folder(struct copy *c, const char *path, mode_t mode)
{
    char folder[PATH_MAX];
    const char *name;
    uint64_t parent = 0;
    int status = copy_parent(c, path, &parent, &name, folder);
    if (status == -ERR_INVALID)
        return 0; /* the root */
    if (status == 0)
        status =
            blocking_mkdir(c->client, caller_self(), parent, slice_str(name), mode & 07777, NULL);
    return status == -ERR_EXISTS ? 0 : status;
}

static int add_local_folder(struct copy *c, const char *from, const char *to, mode_t mode)
{
    int code = EXIT_GOOD, status = make_remote_folder(c, to, mode);
    DIR *folder = status == 0 ? opendir(from) : NULL;
    if (status != 0)
        return complain(status, "cannot make %s", to);
    if (!folder)
        return complain(err_from_errno(errno), "%s", from);
    for (struct dirent *e; (e = readdir(folder));) {
        char below[PATH_MAX], target[PATH_MAX];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int worse =
            place_join(from, e->d_name, below) != 0 || place_join(to, e->d_name, target) != 0
                ? complain(-ERR_NAME_TOO_LONG, "%s/%s", from, e->d_name)
                : add_local(c, below, target, true);
        code = worse != EXIT_GOOD ? worse : code;
    }
    (void)closedir(folder);
    return code;
}

static int add_local_link(struct copy *c, const char *from, const char *to)
{
    char text[PATH_MAX], folder[PATH_MAX];
    const char *name;
    uint64_t parent = 0;
    ssize_t size = readlink(from, text, sizeof text);
    if (size < 0)
        return complain(err_from_errno(errno), "%s", from);
    int status = copy_parent(c, to, &parent, &name, folder);
    if (status == 0)
        status = blocking_symlink(c->client, caller_self(), parent, slice_str(name),
                                  slice_of(text, (size_t)size), NULL);
    return status == 0 ? EXIT_GOOD : complain(status, "%s", to);
}

static int add_local(struct copy *c, const char *from, const char *to, bool recursive)
{
    struct stat st;
    if (lstat(from, &st) != 0)
        return complain(err_from_errno(errno), "%s", from);
    if (S_ISDIR(st.st_mode) && !recursive)
        return complain_text(EXIT_USAGE, "%s is a folder\n  try: cairn cp -r", from);
    if (S_ISDIR(st.st_mode))
        return add_local_folder(c, from, to, st.st_mode);
    if (S_ISLNK(st.st_mode))
        return add_local_link(c, from, to);
    if (!S_ISREG(st.st_mode)) {
        (void)fprintf(stderr, "cairn: %s is neither file, folder nor link: skipped\n", from);
        return EXIT_GOOD;
    }
    copy_add(c, from, to, (uint64_t)st.st_size, 0, st.st_mode,
             (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
    return EXIT_GOOD;
}

struct walk {
    struct copy *c;
    const char *from, *to;
    struct found {
        char *name;
        struct wire_attr attr;
    } * items;
    size_t count, capacity;
};

static void take_entry(void *arg, const struct client_dirent *d)
{
    struct walk *w = arg;
    if (w->count == w->capacity) {
        w->capacity = w->capacity ? w->capacity * 2 : 64;
        struct found *items = realloc(w->items, w->capacity * sizeof *items);
        if (!items)
            abort();
        w->items = items;
    }
    w->items[w->count].name = strndup((const char *)d->name.data, d->name.size);
    w->items[w->count++].attr = d->attr;
}

static int add_remote_folder(struct copy *c, const char *from, const char *to,
                             const struct wire_attr *attr)
{
    struct walk w = {.c = c, .from = from, .to = to};
    uint64_t cursor = 0;
    bool end = false;
    int code = EXIT_GOOD, status = 0;
    if (mkdir(to, attr->mode & 07777) != 0 && errno != EEXIST)
        return complain(err_from_errno(errno), "cannot make %s", to);
    while (status == 0 && !end)
        status =
            blocking_readdir(c->client, caller_self(), attr->inode, &cursor, take_entry, &w, &end);
    if (status != 0)
        code = complain(status, "%s", from);
    for (size_t i = 0; i < w.count; i++) {
        char below[PATH_MAX], target[PATH_MAX];
        int worse = place_join(from, w.items[i].name, below) != 0 ||
                            place_join(to, w.items[i].name, target) != 0
                        ? complain(-ERR_NAME_TOO_LONG, "%s/%s", from, w.items[i].name)
                        : add_remote(c, below, target, &w.items[i].attr, true);
        code = worse != EXIT_GOOD ? worse : code;
        free(w.items[i].name);
    }
    free(w.items);
    return code;
}

static int add_remote(struct copy *c, const char *from, const char *to,
                      const struct wire_attr *attr, bool recursive)
{
    struct bytes text = {0};
    if (S_ISDIR(attr->mode) && !recursive)
        return complain_text(EXIT_USAGE, "%s is a folder\n  try: cairn cp -r", from);
    if (S_ISDIR(attr->mode))
        return add_remote_folder(c, from, to, attr);
    if (S_ISLNK(attr->mode)) {
        int status = blocking_readlink(c->client, caller_self(), attr->inode, &text);
        bytes_append(&text, "", 1);
        if (status == 0 && symlink((const char *)text.data, to) != 0)
            status = err_from_errno(errno);
        bytes_release(&text);
        return status == 0 ? EXIT_GOOD : complain(status, "%s", to);
    }
    if (!S_ISREG(attr->mode)) {
        (void)fprintf(stderr, "cairn: %s is neither file, folder nor link: skipped\n", from);
        return EXIT_GOOD;
    }
    copy_add(c, from, to, attr->size, attr->inode, attr->mode, attr->mtime_ns);
    return EXIT_GOOD;
}

static bool is_folder(struct copy *c, const struct place *p)
{
    struct wire_attr attr;
    struct stat st;
    if (p->is_remote)
        return blocking_resolve(c->client, caller_self(), p->path, &attr) == 0 &&
               S_ISDIR(attr.mode);
    return stat(p->path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int add_source(struct copy *c, const struct place *from, const struct place *to, bool into,
                      bool recursive)
{
    char folder[PATH_MAX], target[PATH_MAX];
    const char *name = "";
    struct wire_attr attr;
    if (into && place_split(from->path, folder, &name) != 0)
        name = ".";
    if (into ? place_join(to->path, name, target) != 0
             : snprintf(target, sizeof target, "%s", to->path) < 0)
        return complain(-ERR_NAME_TOO_LONG, "%s", from->path);
    if (!from->is_remote)
        return add_local(c, from->path, target, recursive);
    int status = blocking_resolve(c->client, caller_self(), from->path, &attr);
    return status == 0 ? add_remote(c, from->path, target, &attr, recursive)
                       : complain(status, "%s", from->path);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int run(struct copy *c, const struct arguments *a, const struct place *places)
{
    unsigned last = a->word_count - 1;
    bool into = is_folder(c, &places[last]);
    uint64_t began = now_ms();
    char bytes[TEXT_SIZE], took[TEXT_SIZE], rate[TEXT_SIZE];
    int code = EXIT_GOOD;
    if (last > 1 && !into)
        return complain_text(EXIT_USAGE, "%s is no folder, but there are several sources",
                             a->words[last]);
    for (unsigned i = 0; i < last; i++) {
        int worse = add_source(c, &places[i], &places[last], into, option_given(a, "recursive"));
        code = worse != EXIT_GOOD ? worse : code;
    }
    copy_run(c);
    uint64_t ms = now_ms() - began;
    (void)fprintf(stderr, "copied %llu files, %s in %s (%s)%s\n",
                  (unsigned long long)(c->files_done - c->files_failed),
                  text_bytes(c->bytes_done, bytes), text_duration(ms, took),
                  text_rate(c->bytes_done, ms, rate),
                  c->verify && !c->mismatches ? "; verified, 0 differ" : "");
    if (c->mismatches)
        return EXIT_MISMATCH;
    if (c->files_failed || (code != EXIT_GOOD && c->files_done > 0))
        return EXIT_PARTIAL;
    return code;
}

int command_cp(const struct arguments *a)
{
    struct copy c = {.jobs = 8, .verify = option_given(a, "verify")};
    struct err_text why;
    char cluster[CLUSTER_TEXT_MAX];
    unsigned last = a->word_count - 1;
    struct place *places = calloc(a->word_count, sizeof *places);
    if (!places || option_number(a, "jobs", 8, 1, COPY_JOBS_MAX, &c.jobs, &why) != 0) {
        free(places);
        return complain_text(EXIT_USAGE, "%s", why.text);
    }
    const char *inside = NULL;
    int code = EXIT_GOOD;
    for (unsigned i = 0; i <= last && code == EXIT_GOOD; i++) {
        if (place_parse(a->words[i], &places[i]) != 0)
            code = complain(-ERR_NAME_TOO_LONG, "%s", a->words[i]);
        else if (i < last && places[i].is_remote != places[0].is_remote)
            code = complain_text(EXIT_USAGE,
                                 "the sources must all be in the cluster, or all on this machine");
        if (places[i].is_remote)
            inside = a->words[i];
    }
    if (code == EXIT_GOOD && places[0].is_remote == places[last].is_remote)
        code = complain_text(
            EXIT_USAGE,
            places[0].is_remote
                ? "both sides are in the cluster\n  use cp on the mount, or cairn mv"
                : "neither side is in a cluster\n  write cairn:/PATH or a path inside a mount");
    if (code == EXIT_GOOD)
        code = cluster_of(a, inside, cluster);
    if (code == EXIT_GOOD)
        code = connect_to(cluster, true, &c.client);
    if (code == EXIT_GOOD) {
        c.from_remote = places[0].is_remote;
        c.to_remote = places[last].is_remote;
        code = run(&c, a, places);
        int status = blocking_stop(c.client);
        if (status != 0 && code == EXIT_GOOD)
            code = complain(status, "closing");
        copy_release(&c);
    }
    free(places);
    return code;
}
