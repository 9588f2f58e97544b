/* The targets of one process, each with a life of its own. */
#include "chunkserver/daemon.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/check.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/banned.h"

enum {
    DAEMON_MAGIC = 0x6461656d,
    RETRY_MS = 30000,       /* a disk that is mounted late */
    CLOSE_MS = 60000,       /* longer than that no flush takes: the disk hangs */
    OPEN_CHUNKS_MAX = 1024, /* what the store takes by default */
    OPEN_CHUNKS_MIN = 64,
};

/* Requests in flight of all targets together; a server with few of them gives each what a single
 * one has, and one with many at least room for 16 blocks of the largest size. */
#define REQUEST_BYTES     ((uint64_t)1 << 30)
#define REQUEST_BYTES_MAX ((uint64_t)256 << 20)
#define REQUEST_BYTES_MIN ((uint64_t)64 << 20)

enum unit_state { UNIT_OPENING, UNIT_UNLABELLED, UNIT_SERVING, UNIT_CLOSING, UNIT_DOWN };

/* One target. */
struct unit {
    struct list node; /* daemon.units, in the order of the configuration */
    struct daemon *d;
    struct daemon_target target; /* data is ours */
    enum unit_state state;
    struct chunkserver *cs;  /* not while UNLABELLED or DOWN */
    struct loop_timer close; /* chunkserver_close must not be called from its callbacks */
    int status;              /* why it was not opened; 0 once it served */
    struct err_text why;     /* what is the matter with it */
    bool failed, refused;    /* ended by itself; no retry */
    bool unclean;
    bool removed; /* not in the configuration any more */
};

struct daemon {
    uint32_t magic;
    struct loop *loop;
    const struct daemon_config *config;
    daemon_ended_fn *ended;
    void *arg;
    struct list units;
    bool settled; /* at least one of the folders was a target, or they have been made */
    bool stopping, has_ended;
    struct loop_timer retry, close_limit, end;
};

static struct unit *unit_after(const struct daemon *d, const struct list *node)
{
    return node->next == &d->units ? NULL : CONTAINER_OF(node->next, struct unit, node);
}

/* The body may free `u`. */
#define EACH_UNIT(d, u)                                              \
    for (struct unit *u = unit_after(d, &(d)->units),                \
                     *u##_next = u ? unit_after(d, &u->node) : NULL; \
         u; u = u##_next, u##_next = u ? unit_after(d, &u->node) : NULL)

static unsigned count_of(const struct daemon *d, enum unit_state state)
{
    unsigned count = 0;
    EACH_UNIT(d, u)
    count += u->state == state;
    return count;
}

/* ---- the end ---- */

static enum daemon_exit exit_of(const struct daemon *d)
{
    enum daemon_exit worst = DAEMON_GOOD;
    EACH_UNIT(d, u)
    {
        if (u->failed)
            return DAEMON_TARGET_FAILED;
        if (u->unclean)
            worst = DAEMON_UNCLEAN;
        else if (worst == DAEMON_GOOD && (u->refused || u->status != 0))
            worst = DAEMON_STARTUP;
    }
    return worst;
}

static void end(struct daemon *d, bool hangs)
{
    if (d->has_ended)
        return;
    d->has_ended = true;
    loop_timer_stop(&d->retry);
    loop_timer_stop(&d->close_limit);
    d->ended(d->arg, exit_of(d), hangs);
}

static void on_end(void *arg)
{
    end(arg, false);
}

static void on_close_limit(void *arg)
{
    struct daemon *d = arg;
    EACH_UNIT(d, u)
    if (u->state == UNIT_CLOSING || u->state == UNIT_OPENING) {
        log_error("target.hangs", "name=%s data=%s: its disk does not answer; the process ends",
                  u->target.name, u->target.data);
        u->unclean = true;
    }
    end(d, true);
}

/* After each change: is anybody left for whom the process should stay? */
static void settle(struct daemon *d)
{
    unsigned serving = count_of(d, UNIT_SERVING), opening = count_of(d, UNIT_OPENING);
    if (serving + opening + count_of(d, UNIT_UNLABELLED) + count_of(d, UNIT_CLOSING) == 0)
        loop_timer_start_ms(&d->end, 0);
    else if (!d->stopping && serving + opening > 0)
        loop_timer_stop(&d->close_limit);
    else if (!loop_timer_is_running(&d->close_limit))
        loop_timer_start_ms(&d->close_limit, d->config->close_ms ? d->config->close_ms : CLOSE_MS);
}

/* ---- opening ---- */

static void unit_free(struct unit *u)
{
    loop_timer_stop(&u->close);
    list_remove(&u->node);
    free((char *)(uintptr_t)u->target.data);
    free(u);
}

static chunkserver_opened_fn on_opened;
static chunkserver_end_fn on_ended;
static chunkserver_closed_fn on_closed;

/* Half of the descriptors of the process are for files of chunks. */
static uint32_t open_chunks_of(unsigned target_count)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return OPEN_CHUNKS_MIN;
    uint64_t share = limit.rlim_cur / 2 / target_count;
    return (uint32_t)(share > OPEN_CHUNKS_MAX   ? OPEN_CHUNKS_MAX
                      : share < OPEN_CHUNKS_MIN ? OPEN_CHUNKS_MIN
                                                : share);
}

static struct chunkserver_config config_of(const struct daemon_config *c,
                                           const struct daemon_target *t)
{
    struct chunkserver_config config = c->common;
    uint64_t share = REQUEST_BYTES / c->target_count;
    config.name = t->name;
    config.data = t->data;
    config.listen = t->listen;
    config.request_bytes_max = share > REQUEST_BYTES_MAX   ? REQUEST_BYTES_MAX
                               : share < REQUEST_BYTES_MIN ? REQUEST_BYTES_MIN
                                                           : share;
    config.open_chunks_max = open_chunks_of(c->target_count);
    return config;
}

static void unit_open(struct unit *u, bool make)
{
    struct chunkserver_config config = config_of(u->d->config, &u->target);
    config.keep_out = !make;
    u->state = UNIT_OPENING;
    u->failed = u->refused = u->unclean = false;
    u->cs = chunkserver_begin(u->d->loop, &config, on_opened, on_ended, u);
}

/* Says it once, however often it is tried again. */
static void unit_down(struct unit *u, int status, const char *text)
{
    struct err_text before = u->why;
    u->status = status;
    (void)err_set(ERR_CONFIG, &u->why, "%s", text);
    if (strcmp(before.text, u->why.text) != 0)
        log_error("target.down", "name=%s why=\"%s\"", u->target.name, u->why.text);
}

static void unlabelled(struct unit *u)
{
    struct err_text text;
    unsigned number = u->target.number ? u->target.number : 1;
    (void)err_set(
        ERR_NO_ENTRY, &text,
        "data folder %.100s holds no target: is its disk mounted? A new disk is made one by "
        "cairn-chunkserver --init %u",
        u->target.data, number);
    u->state = UNIT_DOWN;
    unit_down(u, -ERR_NO_ENTRY, text.text);
}

/* The first start of a server, when none of its folders is a target: all are made. Once there is
 * one, a folder without a label is a disk that is not mounted, unless somebody says otherwise. */
static void unlabelled_decide(struct daemon *d)
{
    bool make = !d->settled && !d->stopping;
    if (make && count_of(d, UNIT_OPENING) + count_of(d, UNIT_CLOSING) > 0)
        return;
    EACH_UNIT(d, u)
    {
        if (u->state != UNIT_UNLABELLED)
            continue;
        d->settled = true;
        if (u->removed)
            unit_free(u);
        else if (make)
            unit_open(u, true);
        else
            unlabelled(u);
    }
}

static void unit_close_soon(struct unit *u)
{
    u->state = UNIT_CLOSING;
    loop_timer_start_ms(&u->close, 0);
}

static const char *twin_of(const struct unit *u)
{
    EACH_UNIT(u->d, other)
    if (other != u && other->state == UNIT_SERVING &&
        memcmp(chunkserver_uuid(other->cs), chunkserver_uuid(u->cs), sizeof(struct uuid)) == 0)
        return other->target.name;
    return NULL;
}

static void warn_of_shared_disk(const struct unit *u)
{
    EACH_UNIT(u->d, other)
    if (other != u && other->state == UNIT_SERVING &&
        chunkserver_device(other->cs) == chunkserver_device(u->cs)) {
        log_warn("target.shares_disk",
                 "name=%s with=%s: they share a file system, so its space counts twice and they "
                 "fail together",
                 u->target.name, other->target.name);
        return;
    }
}

static void on_opened(void *arg, int status, const struct err_text *why)
{
    struct unit *u = arg;
    struct daemon *d = u->d;
    const char *twin = status == 0 ? twin_of(u) : NULL;
    struct err_text text = *why;
    if (status != -ERR_NO_ENTRY)
        d->settled = true;
    if (status == 0 && twin)
        status = err_set(ERR_CONFIG, &text,
                         "data folder %.100s is a copy of that of %.80s: only one of them can be "
                         "served",
                         u->target.data, twin);
    else if (status != 0 && text.text[0] == '\0')
        (void)err_set((enum err) - status, &text, "cannot start: %s", err_text(status));
    u->status = status;
    if (status == 0) {
        u->state = UNIT_SERVING;
        u->why = (struct err_text){""};
        warn_of_shared_disk(u);
        if (d->stopping || u->removed)
            chunkserver_stop(u->cs);
    } else {
        if (status != -ERR_NO_ENTRY)
            unit_down(u, status, text.text);
        unit_close_soon(u);
    }
    unlabelled_decide(d);
    settle(d);
}

/* ---- closing ---- */

static void on_ended(void *arg, enum chunkserver_end how)
{
    struct unit *u = arg;
    u->failed = how == CHUNKSERVER_FAILED;
    u->refused = how == CHUNKSERVER_REFUSED;
    unit_close_soon(u);
    if (u->failed)
        (void)err_set(ERR_TARGET_FAILED, &u->why, "the disk of %.150s has failed", u->target.data);
    else if (u->refused)
        (void)err_set(ERR_REFUSED, &u->why, "the cluster knows %.80s under another number",
                      u->target.name);
    if (u->failed || u->refused)
        log_error("target.down", "name=%s why=\"%s\" still_serving=%u", u->target.name, u->why.text,
                  count_of(u->d, UNIT_SERVING));
    settle(u->d);
}

static void on_close(void *arg)
{
    struct unit *u = arg;
    chunkserver_close(u->cs, on_closed);
}

static void on_closed(void *arg, int status)
{
    struct unit *u = arg;
    struct daemon *d = u->d;
    u->cs = NULL;
    u->state = UNIT_DOWN;
    if (status != 0 && u->status == 0) {
        u->unclean = true;
        log_error("target.unclean", "name=%s error=%s: not everything could be written",
                  u->target.name, err_name(status));
    }
    if (u->status == -ERR_NO_ENTRY)
        u->state = UNIT_UNLABELLED;
    if (u->removed) {
        unit_free(u);
        loop_timer_start_ms(&d->retry, 0); /* another one may have waited for its address */
    } else if (!d->stopping && u->status == 0 && !u->failed && !u->refused)
        unit_open(u, false); /* removed, and then put back */
    unlabelled_decide(d);
    settle(d);
}

static void on_retry(void *arg)
{
    struct daemon *d = arg;
    EACH_UNIT(d, u)
    if (u->state == UNIT_DOWN && u->status != 0 && !u->removed && !d->stopping)
        unit_open(u, false);
    loop_timer_start_ms(&d->retry, RETRY_MS);
}

/* ---- from outside ---- */

static struct unit *unit_add(struct daemon *d, const struct daemon_target *target)
{
    struct unit *u = calloc(1, sizeof *u);
    CHECK(u != NULL);
    u->d = d;
    u->target = *target;
    u->target.data = strdup(target->data);
    CHECK(u->target.data != NULL);
    loop_timer_init(&u->close, d->loop, on_close, u);
    list_append(&d->units, &u->node);
    return u;
}

struct daemon *daemon_create(struct loop *loop, const struct daemon_config *config,
                             daemon_ended_fn *ended, void *arg)
{
    struct daemon *d = calloc(1, sizeof *d);
    CHECK(d != NULL && config->target_count > 0);
    *d = (struct daemon){
        .magic = DAEMON_MAGIC, .loop = loop, .config = config, .ended = ended, .arg = arg};
    list_init(&d->units);
    loop_timer_init(&d->retry, loop, on_retry, d);
    loop_timer_init(&d->close_limit, loop, on_close_limit, d);
    loop_timer_init(&d->end, loop, on_end, d);
    for (unsigned i = 0; i < config->target_count; i++)
        unit_open(unit_add(d, &config->targets[i]), false);
    loop_timer_start_ms(&d->retry, RETRY_MS);
    return d;
}

static const struct daemon_target *target_in(const struct daemon_config *config,
                                             const struct daemon_target *target)
{
    for (unsigned i = 0; i < config->target_count; i++)
        if (config->targets[i].number == target->number &&
            strcmp(config->targets[i].data, target->data) == 0)
            return &config->targets[i];
    return NULL;
}

static bool is_known(const struct daemon *d, const struct daemon_target *target)
{
    EACH_UNIT(d, u)
    if (!u->removed && u->target.number == target->number &&
        strcmp(u->target.data, target->data) == 0)
        return true;
    return false;
}

int daemon_reload(struct daemon *d, const struct daemon_config *config, struct err_text *why)
{
    const struct daemon_config *before = d->config;
    CHECK_OBJ(d, DAEMON_MAGIC);
    if (strcmp(config->name, before->name) != 0 || strcmp(config->listen, before->listen) != 0 ||
        strcmp(config->common.host, before->common.host) != 0 ||
        memcmp(&config->common.cluster, &before->common.cluster, sizeof(struct uuid)) != 0)
        return err_set(ERR_CONFIG, why,
                       "name, cluster, host and listen cannot change while it runs: restart it");
    d->config = config;
    if (d->stopping || d->has_ended)
        return 0;
    EACH_UNIT(d, u)
    {
        u->removed = !target_in(config, &u->target);
        if (u->removed && u->state == UNIT_SERVING)
            chunkserver_stop(u->cs);
        else if (u->removed && u->state == UNIT_DOWN)
            unit_free(u);
        else if (u->state == UNIT_DOWN && !u->failed)
            unit_open(u, false);
    }
    for (unsigned i = 0; i < config->target_count; i++)
        if (!is_known(d, &config->targets[i]))
            unit_open(unit_add(d, &config->targets[i]), false);
    return 0;
}

void daemon_stop(struct daemon *d)
{
    CHECK_OBJ(d, DAEMON_MAGIC);
    if (d->stopping || d->has_ended)
        return;
    d->stopping = true;
    EACH_UNIT(d, u)
    if (u->state == UNIT_SERVING)
        chunkserver_stop(u->cs);
    unlabelled_decide(d);
    settle(d);
}

void daemon_destroy(struct daemon *d)
{
    CHECK_OBJ(d, DAEMON_MAGIC);
    CHECK(d->has_ended);
    loop_timer_stop(&d->end);
    EACH_UNIT(d, u)
    {
        CHECK(u->cs == NULL);
        unit_free(u);
    }
    d->magic = 0;
    free(d);
}

unsigned daemon_serving(const struct daemon *d)
{
    return count_of(d, UNIT_SERVING);
}

unsigned daemon_busy(const struct daemon *d)
{
    return count_of(d, UNIT_OPENING) + count_of(d, UNIT_CLOSING);
}

struct chunkserver *daemon_target(struct daemon *d, unsigned number)
{
    EACH_UNIT(d, u)
    if (u->target.number == number && u->state == UNIT_SERVING)
        return u->cs;
    return NULL;
}

const char *daemon_trouble(const struct daemon *d)
{
    EACH_UNIT(d, u)
    if (u->why.text[0] != '\0')
        return u->why.text;
    return "";
}

int daemon_make_target(const struct daemon_config *config, unsigned number, struct uuid *ret_target,
                       struct err_text *why)
{
    for (unsigned i = 0; i < config->target_count; i++) {
        const struct daemon_target *t = &config->targets[i];
        if (t->number != number && !(t->number == 0 && number == 1))
            continue;
        struct chunkserver_config c = config_of(config, t);
        return chunkserver_make_target(&c, ret_target, why);
    }
    return err_set(ERR_CONFIG, why, "there is no target %u in the configuration", number);
}
