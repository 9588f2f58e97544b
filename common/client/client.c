/* A client from create to close. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/client/meta_op.h"
#include "common/client/table.h"

#include "common/base/banned.h"

enum { WHY_SIZE = 2048, GOODBYE_MS = 2000 };

#define WRITE_BUFFER_BYTES ((uint64_t)256 << 20)
#define READ_AHEAD_BYTES   ((uint64_t)64 << 20)

/* ---- create ---- */

/* Exists from client_create to its callback. */
struct client_start {
    struct client *c;
    struct loop_timer timer;
    client_ready_fn *done;
    void *arg;
};

static void on_leader_changed(void *arg, const char *address)
{
    session_leader_changed(arg, address != NULL);
}

static char *copy_text(const char *text)
{
    char *copy = strdup(text);
    CHECK(copy);
    return copy;
}

static char *default_name(void)
{
    char host[64] = "", name[96];
    (void)gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "%s.%ld", host, (long)getpid());
    return copy_text(name);
}

static void make_leader(struct client *c)
{
    const char *addresses[CLIENT_ADDRESSES_MAX];
    for (unsigned i = 0; i < c->cluster.count; i++)
        addresses[i] = c->cluster.address[i];
    c->identity = (struct rpc_identity){
        .role = c->no_session ? ROLE_ADMIN : ROLE_CLIENT,
        .instance = random_u64(),
    };
    c->leader = rpc_leader_create(c->loop, &(struct rpc_leader_options){
                                               .addresses = addresses,
                                               .address_count = c->cluster.count,
                                               .source = c->source,
                                               .identity = &c->identity,
                                               .table_version = client_table_version,
                                               .changed = on_leader_changed,
                                               .arg = c,
                                               .follow = true,
                                               .seed = prng_next(&c->prng),
                                           });
}

static void on_release_timer(void *arg)
{
    release_batch_send(arg);
}

static struct client *make(struct loop *loop, const struct client_options *options,
                           const struct client_cluster *cluster)
{
    struct client *c = calloc(1, sizeof *c);
    CHECK(c);
    c->magic = CLIENT_MAGIC;
    c->loop = loop;
    c->cluster = *cluster;
    c->cluster_text = copy_text(options->cluster);
    c->name = options->name ? copy_text(options->name) : default_name();
    c->source = options->source ? copy_text(options->source) : NULL;
    c->mount = copy_text(options->mount ? options->mount : "");
    c->deadline_ms = options->deadline_ms ? options->deadline_ms : CLIENT_DEADLINE_MS;
    c->attr_ms = options->no_cache ? 0 : options->attr_ms ? options->attr_ms : CLIENT_ATTR_MS;
    c->no_session = options->no_session;
    c->write_buffer_bytes =
        options->write_buffer_bytes ? options->write_buffer_bytes : WRITE_BUFFER_BYTES;
    c->read_ahead_bytes = options->read_ahead_bytes ? options->read_ahead_bytes : READ_AHEAD_BYTES;
    c->copies = 1;
    prng_init(&c->prng, random_u64());
    attr_cache_init(&c->cache, c->attr_ms, ATTR_CACHE_ENTRIES, prng_next(&c->prng));
    map_init(&c->files, prng_next(&c->prng));
    list_init(&c->calls.changes);
    list_init(&c->calls.reads);
    list_init(&c->calls.queued);
    list_init(&c->moves);
    c->calls.next_sequence = 1;
    loop_timer_init(&c->release.timer, loop, on_release_timer, c);
    table_init(c);
    make_leader(c);
    client_data_create(c);
    return c;
}

static void start_end(struct client_start *start, int status, const char *why)
{
    struct client *c = start->c;
    client_ready_fn *done = start->done;
    void *arg = start->arg;
    loop_timer_stop(&start->timer);
    c->start = NULL;
    free(start);
    done(arg, status, status == 0 ? c : NULL, why);
}

static void destroy(struct client *c);

static void on_start_timeout(void *arg)
{
    struct client_start *start = arg;
    struct client *c = start->c;
    char why[WHY_SIZE] = "", known[WHY_SIZE - 200] = "";
    bool found = rpc_leader_address(c->leader) != NULL;
    rpc_leader_describe(c->leader, known, sizeof known);
    snprintf(why, sizeof why, "%s: %s",
             found ? "the metadata leader gives no session" : "no metadata server answered", known);
    start_end(start, found ? -ERR_TIMEOUT : -ERR_UNREACHABLE, why);
    destroy(c);
}

void client_progress(struct client *c)
{
    if (!c->start || (c->session.state != SESSION_UP && !c->no_session) || !c->table.answered)
        return;
    start_end(c->start, 0, "");
}

void client_create(struct loop *loop, const struct client_options *options, client_ready_fn *done,
                   void *arg)
{
    struct client_cluster cluster;
    struct err_text why = {""};
    int status = client_cluster_parse(options->cluster, &cluster, &why);
    if (status != 0) {
        done(arg, status, NULL, why.text);
        return;
    }
    struct client *c = make(loop, options, &cluster);
    struct client_start *start = calloc(1, sizeof *start);
    CHECK(start);
    *start = (struct client_start){.c = c, .done = done, .arg = arg};
    c->start = start;
    loop_timer_init(&start->timer, loop, on_start_timeout, start);
    loop_timer_start_ms(&start->timer,
                        options->connect_ms ? options->connect_ms : CLIENT_CONNECT_MS);
    if (!c->no_session)
        session_start(c);
    client_heard_table(c, 1); /* any version is newer than none */
}

/* ---- close ---- */

struct client_end {
    struct client *c;
    unsigned waiting; /* flushes under way, and one for the loop that starts them */
    int status;
    bool said_goodbye;
    struct loop_timer timer;
    client_done_fn *done;
    void *arg;
};

static void free_files(struct client *c)
{
    size_t count = 0, cursor = 0;
    struct client_file **files = calloc(c->files.count + 1, sizeof(struct client_file *));
    CHECK(files);
    for (struct map_entry *e; (e = map_next(&c->files, &cursor)) != NULL;)
        files[count++] = file_hold(e->value);
    for (size_t i = 0; i < count; i++) {
        struct client_file *f = files[i];
        if (f->dirty)
            file_data_abandon(f, -ERR_CANCELLED);
        LIST_EACH(node, &f->handles)
        client_release(CONTAINER_OF(node, struct client_handle, node));
        file_drop(f);
    }
    free(files);
}

static void destroy(struct client *c)
{
    c->closing = true;
    if (!c->no_session)
        session_stop(c);
    /* A callback may start another call; each ends at once, so this comes to an end. */
    while (c->calls.count != 0 || !list_empty(&c->calls.queued))
        meta_calls_cancel_all(c);
    client_moves_cancel(c);
    table_release(c);
    free_files(c);
    client_data_destroy(c);
    CHECK(c->files.count == 0);
    loop_timer_stop(&c->release.timer);
    rpc_leader_destroy(c->leader);
    attr_cache_release(&c->cache);
    map_release(&c->files);
    free(c->cluster_text);
    free(c->name);
    free(c->source);
    free(c->mount);
    c->magic = 0;
    free(c);
}

static void end(struct client_end *closing)
{
    loop_timer_stop(&closing->timer);
    destroy(closing->c);
    closing->done(closing->arg, closing->status);
    free(closing);
}

static void on_goodbye(void *arg, int status, uint16_t code, struct slice body, const char *detail)
{
    (void)status, (void)code, (void)body, (void)detail;
    struct client_end *closing = arg;
    /* Out of the call's own frames, and not at all when the timer was first. */
    if (closing->c->magic == CLIENT_MAGIC && !closing->c->closing)
        loop_timer_start_ms(&closing->timer, 0);
}

static void say_goodbye(struct client_end *closing)
{
    struct client *c = closing->c;
    closing->said_goodbye = true;
    if (closing->status == 0)
        closing->status = c->untold_error;
    loop_timer_start_ms(&closing->timer, c->session.state == SESSION_UP ? GOODBYE_MS : 0);
    if (c->session.state != SESSION_UP)
        return;
    release_batch_send(c);
    struct bytes body = {0};
    encode_session_close(&body, &(struct msg_session_close){.session = c->session.id});
    client_leader_call(c, MSG_session_close, bytes_slice(&body), on_goodbye, closing);
    bytes_release(&body);
}

static void on_end_timer(void *arg)
{
    struct client_end *closing = arg;
    if (!closing->said_goodbye) {
        closing->status = -ERR_TIMEOUT; /* of the flushes */
        closing->said_goodbye = true;
    }
    end(closing);
}

static void on_last_flush(void *arg, int status)
{
    struct client_end *closing = arg;
    if (closing->status == 0)
        closing->status = status;
    if (--closing->waiting == 0 && !closing->said_goodbye)
        say_goodbye(closing);
}

void client_close(struct client *c, client_done_fn *done, void *arg)
{
    CHECK_OBJ(c, CLIENT_MAGIC);
    struct client_end *closing = calloc(1, sizeof *closing);
    CHECK(closing);
    *closing = (struct client_end){.c = c, .waiting = 1, .done = done, .arg = arg};
    loop_timer_init(&closing->timer, c->loop, on_end_timer, closing);
    loop_timer_start_ms(&closing->timer, c->deadline_ms);
    size_t count = 0, cursor = 0;
    struct client_file **files = calloc(c->files.count + 1, sizeof(struct client_file *));
    CHECK(files);
    for (struct map_entry *e; (e = map_next(&c->files, &cursor)) != NULL;)
        files[count++] = file_hold(e->value);
    for (size_t i = 0; i < count; i++) {
        closing->waiting++;
        if (files[i]->dirty)
            file_data_flush(files[i], false, on_last_flush, closing);
        else
            on_last_flush(closing, 0);
        file_drop(files[i]);
    }
    free(files);
    on_last_flush(closing, 0);
}

/* ---- small answers ---- */

const char *client_cluster_text(const struct client *c)
{
    return c->cluster_text;
}

struct loop *client_loop(struct client *c)
{
    return c->loop;
}

uint64_t client_session(const struct client *c)
{
    return c->session.id;
}

uint8_t client_copies(const struct client *c)
{
    return c->copies;
}

void client_on_invalidate(struct client *c, client_invalidate_fn *invalidate, void *arg)
{
    c->invalidate = invalidate;
    c->invalidate_arg = arg;
}

void client_counters(const struct client *c, struct client_counters *ret_counters)
{
    *ret_counters = c->counters;
}

void client_forget(struct client *c, uint64_t inode)
{
    if (!file_find(c, inode))
        attr_cache_drop(&c->cache, inode);
}

int64_t client_wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
