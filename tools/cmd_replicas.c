/* cairn replicas: how many copies folders and files have, and changing it. The data of files is
 * copied by this process; what it was doing when it was stopped is begun anew the next time. */
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "tools/commands.h"
#include "tools/place.h"
#include "tools/text.h"

enum {
    COPIES_MOST = 5,
    ROUND_PAUSE_US = 500000, /* before files that were open are tried again */
    ROUNDS_MAX = 4, /* without --wait: a mount tells that it closed a file a moment later */
    SHOWN_MAX = 10,
    JOBS_DEFAULT = 8,
    JOBS_MOST = 64,
};

struct item {
    char *path;
    struct wire_attr attr;
};

struct items {
    struct item *all;
    size_t count, capacity;
};

static void items_add(struct items *l, char *take_path, const struct wire_attr *attr)
{
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? l->capacity * 2 : 64;
        l->all = realloc(l->all, l->capacity * sizeof *l->all);
        CHECK(l->all != NULL);
    }
    l->all[l->count++] = (struct item){take_path, *attr};
}

static void items_release(struct items *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->all[i].path);
    free(l->all);
    *l = (struct items){0};
}

static char *path_copy(const char *path)
{
    char *copy = strdup(path);
    CHECK(copy != NULL);
    return copy;
}

/* ---- set ---- */

struct change {
    struct blocking_client *b;
    uint8_t copies;
    bool is_recursive, is_waiting;
    unsigned jobs;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    unsigned busy; /* threads with an item in hand */
    bool is_hopeless;
    struct items todo, open; /* `open`: somebody may write to them */
    uint64_t files, folders;
    int code;
};

static void lock(struct change *c)
{
    CHECK(pthread_mutex_lock(&c->lock) == 0);
}

static void unlock(struct change *c)
{
    CHECK(pthread_mutex_unlock(&c->lock) == 0);
}

struct listing {
    struct change *c;
    const char *folder;
};

static void take_entry(void *arg, const struct client_dirent *d)
{
    const struct listing *l = arg;
    char name[NAME_LENGTH_MAX + 1], path[PATH_MAX];
    if (d->name.size > NAME_LENGTH_MAX || (!S_ISREG(d->attr.mode) && !S_ISDIR(d->attr.mode)))
        return;
    memcpy(name, d->name.data, d->name.size);
    name[d->name.size] = 0;
    if (place_join(l->folder, name, path) != 0)
        return;
    lock(l->c);
    items_add(&l->c->todo, path_copy(path), &d->attr);
    CHECK(pthread_cond_broadcast(&l->c->changed) == 0);
    unlock(l->c);
}

static void fail(struct change *c, int status, const char *path, const char *detail)
{
    lock(c);
    int code = *detail ? complain_text(exit_of(status), "%s: %s", path, detail)
                       : complain(status, "%s", path);
    c->code = c->code == EXIT_GOOD ? code : EXIT_PARTIAL;
    c->is_hopeless = c->is_hopeless || status == -ERR_REFUSED; /* so will all others be */
    unlock(c);
}

/* The folder first: what is made in it from now on is right already. */
static void change_folder(struct change *c, const struct item *i)
{
    struct listing l = {c, i->path};
    uint64_t cursor = 0;
    bool end = !c->is_recursive;
    while (!end) {
        int status =
            blocking_readdir(c->b, caller_self(), i->attr.inode, &cursor, take_entry, &l, &end);
        if (status != 0) {
            fail(c, status, i->path, "");
            return;
        }
    }
}

/* Takes the item's path. */
static void change_one(struct change *c, struct item i)
{
    struct err_text why = {""};
    bool is_file = S_ISREG(i.attr.mode), is_so = i.attr.copies == c->copies;
    int status = is_file && is_so
                     ? 0
                     : blocking_set_copies(c->b, caller_self(), i.attr.inode, c->copies, &why);
    lock(c);
    c->folders += status == 0 && !is_file;
    c->files += status == 0 && is_file && !is_so;
    if (status == -ERR_FILE_OPEN)
        items_add(&c->open, path_copy(i.path), &i.attr);
    unlock(c);
    if (status == 0 && !is_file)
        change_folder(c, &i);
    else if (status != 0 && status != -ERR_FILE_OPEN && status != -ERR_STALE_HANDLE &&
             status != -ERR_NO_ENTRY) /* the last two: removed meanwhile */
        fail(c, status, i.path, why.text);
    free(i.path);
}

static void *work(void *arg)
{
    struct change *c = arg;
    lock(c);
    while (!c->is_hopeless && (c->todo.count > 0 || c->busy > 0)) {
        if (c->todo.count == 0) {
            CHECK(pthread_cond_wait(&c->changed, &c->lock) == 0);
            continue;
        }
        struct item i = c->todo.all[--c->todo.count];
        c->busy++;
        unlock(c);
        change_one(c, i);
        lock(c);
        c->busy--;
        CHECK(pthread_cond_broadcast(&c->changed) == 0);
    }
    unlock(c);
    return NULL;
}

static void change_all(struct change *c)
{
    pthread_t threads[JOBS_MOST];
    unsigned count = c->is_recursive ? c->jobs - 1 : 0; /* this one works too */
    for (unsigned i = 0; i < count; i++)
        CHECK(pthread_create(&threads[i], NULL, work, c) == 0);
    (void)work(c);
    for (unsigned i = 0; i < count; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void try_again(struct change *c)
{
    for (unsigned round = 1;
         !c->is_hopeless && c->open.count > 0 && (c->is_waiting || round < ROUNDS_MAX); round++) {
        (void)usleep(ROUND_PAUSE_US);
        free(c->todo.all);
        c->todo = c->open;
        c->open = (struct items){0};
        change_all(c);
    }
}

static void tell_open(struct change *c)
{
    for (size_t i = 0; i < c->open.count && i < SHOWN_MAX; i++)
        (void)fprintf(stderr, "%s: open for writing\n", c->open.all[i].path);
    if (c->open.count == 0)
        return;
    c->code = complain_text(EXIT_PARTIAL,
                            "open for writing, so they keep their copies: %zu\n"
                            "  run it again later, or with --wait",
                            c->open.count);
}

static int set_path(struct change *c, const char *path)
{
    struct wire_attr attr;
    char files[TEXT_SIZE];
    int status = blocking_resolve(c->b, caller_self(), path, &attr);
    if (status != 0)
        return complain(status, "%s", path);
    c->files = c->folders = 0;
    c->code = EXIT_GOOD;
    c->is_hopeless = false;
    items_add(&c->todo, path_copy(path), &attr);
    change_all(c);
    try_again(c);
    tell_open(c);
    if (S_ISDIR(attr.mode) && c->folders > 0)
        (void)printf("%s: replicas %u -> %u for new files; %s existing files changed\n", path,
                     attr.copies, c->copies, text_count(c->files, files));
    else if (c->files > 0)
        (void)printf("%s: replicas %u -> %u\n", path, attr.copies, c->copies);
    items_release(&c->todo);
    items_release(&c->open);
    return c->code;
}

/* Runs `each` on the words from `first` on, all of which must be in the cluster; the worst exit
 * code counts. */
typedef int path_fn(void *arg, struct blocking_client *b, const char *path);
static int for_each(const struct arguments *a, unsigned first, path_fn *each, void *arg)
{
    char cluster[CLUSTER_TEXT_MAX];
    struct blocking_client *b;
    int worst = EXIT_GOOD, code = cluster_of(a, a->words[first], cluster);
    if (code == EXIT_GOOD)
        code = connect_to(cluster, true, &b);
    if (code != EXIT_GOOD)
        return code;
    for (unsigned i = first; i < a->word_count; i++) {
        struct place p;
        if (place_parse(a->words[i], &p) != 0 || !p.is_remote)
            code = complain_text(
                EXIT_USAGE, "%s is not in a cluster\n  write cairn:/PATH or a path inside a mount",
                a->words[i]);
        else
            code = each(arg, b, p.path);
        worst = code != EXIT_GOOD ? code : worst;
    }
    int status = blocking_stop(b);
    return worst == EXIT_GOOD && status != 0 ? complain(status, "closing") : worst;
}

static int set_each(void *arg, struct blocking_client *b, const char *path)
{
    struct change *c = arg;
    c->b = b;
    return set_path(c, path);
}

int command_replicas_set(const struct arguments *a)
{
    struct change c = {.is_recursive = option_given(a, "recursive"),
                       .is_waiting = option_given(a, "wait"),
                       .lock = PTHREAD_MUTEX_INITIALIZER,
                       .changed = PTHREAD_COND_INITIALIZER};
    struct err_text why;
    const char *number = a->words[0];
    if (number[0] < '1' || number[0] > '0' + COPIES_MOST || number[1] != 0)
        return complain_text(EXIT_USAGE, "%s is no number of copies: 1 to %d", number, COPIES_MOST);
    c.copies = (uint8_t)(number[0] - '0');
    if (option_number(a, "jobs", JOBS_DEFAULT, 1, JOBS_MOST, &c.jobs, &why) != 0)
        return complain_text(EXIT_USAGE, "%s", why.text);
    return for_each(a, 1, set_each, &c);
}

/* ---- get ---- */

struct view {
    struct text_table table;
    json_t *list; /* NULL: the table */
};

/* The highest folder from which the number can have come: on the way to it all have the same. */
static int find_origin(struct blocking_client *b, const char *path, uint8_t copies,
                       char ret_origin[PATH_MAX])
{
    struct wire_attr attr;
    int status = blocking_getattr(b, caller_self(), ROOT_INODE, &attr);
    size_t at = 0, origin = attr.copies == copies ? 0 : SIZE_MAX;
    while (status == 0) {
        at += strspn(path + at, "/");
        size_t size = strcspn(path + at, "/");
        if (size == 0)
            break;
        status = blocking_lookup(b, caller_self(), attr.inode, slice_of(path + at, size), &attr);
        at += size;
        if (attr.copies != copies)
            origin = SIZE_MAX;
        else if (origin == SIZE_MAX)
            origin = at;
    }
    if (origin == SIZE_MAX)
        origin = at;
    (void)snprintf(ret_origin, PATH_MAX, "%.*s", origin ? (int)origin : 1, origin ? path : "/");
    return status;
}

static int get_places(struct blocking_client *b, const struct wire_attr *attr,
                      struct client_places *ret)
{
    struct client_opened opened;
    *ret = (struct client_places){.copies = attr->copies};
    if (!S_ISREG(attr->mode))
        return 0;
    int status = blocking_open(b, caller_self(), attr->inode, OPEN_READ, &opened);
    if (status != 0)
        return status;
    status = blocking_places(b, opened.handle, ret);
    (void)blocking_release(b, opened.handle);
    return status;
}

static void add_table(struct view *v, const char *path, const char *origin,
                      const struct client_places *p)
{
    char copies[TEXT_SIZE], now[TEXT_SIZE] = "-", servers[TABLE_CELL_MAX] = "-";
    size_t used = 0;
    (void)snprintf(copies, sizeof copies, "%u", p->copies);
    if (p->chunk_count > 0)
        (void)snprintf(now, sizeof now, "%u of %u", p->copies_now, p->copies);
    for (unsigned i = 0; i < p->server_count && used < sizeof servers; i++)
        used += (size_t)snprintf(servers + used, sizeof servers - used, "%s%s", i ? " " : "",
                                 p->servers[i]);
    text_table_row(&v->table, (const char *const[]){path, copies, origin, now, servers});
}

static void add_json(struct view *v, const char *path, const char *origin,
                     const struct client_places *p)
{
    json_t *servers = json_array();
    for (unsigned i = 0; i < p->server_count; i++)
        (void)json_array_append_new(servers, json_string(p->servers[i]));
    json_t *row =
        json_pack("{s:s s:i s:s s:o s:i s:o}", "path", path, "replicas", (int)p->copies, "from",
                  origin, "copies_now", p->chunk_count ? json_integer(p->copies_now) : json_null(),
                  "chunks", (int)p->chunk_count, "servers", servers);
    (void)json_array_append_new(v->list, row);
}

static int get_each(void *arg, struct blocking_client *b, const char *path)
{
    struct view *v = arg;
    struct wire_attr attr;
    char origin[PATH_MAX];
    struct client_places *p = malloc(sizeof *p);
    CHECK(p != NULL);
    int status = blocking_resolve(b, caller_self(), path, &attr);
    if (status == 0)
        status = get_places(b, &attr, p);
    if (status == 0)
        status = find_origin(b, path, attr.copies, origin);
    if (status == 0 && v->list)
        add_json(v, path, origin, p);
    else if (status == 0)
        add_table(v, path, origin, p);
    free(p);
    return status == 0 ? EXIT_GOOD : complain(status, "%s", path);
}

int command_replicas_get(const struct arguments *a)
{
    struct view v = {.list = NULL};
    struct err_text why;
    bool json = false;
    if (option_json(a, &json, &why) != 0)
        return complain_text(EXIT_USAGE, "%s", why.text);
    v.list = json ? json_array() : NULL;
    text_table_init(&v.table, 5);
    text_table_row(&v.table,
                   (const char *const[]){"PATH", "REPLICAS", "FROM", "COPIES NOW", "SERVERS"});
    int code = for_each(a, 0, get_each, &v);
    if (json) {
        (void)json_dumpf(v.list, stdout, 0);
        (void)putchar('\n');
        json_decref(v.list);
    } else if (v.table.rows > 1) {
        text_table_print(&v.table);
    }
    text_table_release(&v.table);
    return code;
}
