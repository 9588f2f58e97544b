/* Clients of a metadata cluster, for tests/bench/meta.sh: meta-client ADDRESSES PIDS WHAT ...
 *   lookup FILES CONNECTIONS DEPTH SECONDS   look-up, getattr in turn, random files of meta-load
 *   create CLIENTS DEPTH SECONDS             a session and a connection each, DEPTH in flight
 *   first                                    waits for the first answer of a leader
 *   answer                                   waits for the first answer of any metaserver
 *   leader                                   prints "ADDRESS TERM APPLIED LOWEST_MATCH"
 * ADDRESSES: host:port,...; PIDS: whose CPU time is reported per operation ("-" = none). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/net/loop.h"
#include "common/net/rpc_client.h"
#include "common/net/rpc_leader.h"
#include "common/wire/codec.h"
#include "tests/bench/meta_names.h"

enum { CLIENTS_MAX = 256, DEPTH_MAX = 1024, PIDS_MAX = 8, SAMPLES_MAX = 16 << 20 };

static struct {
    struct loop *loop;
    struct rpc_identity identity;
    char *text;
    const char *addresses[RPC_LEADER_ADDRESSES_MAX];
    unsigned address_count, pid_count;
    long pids[PIDS_MAX];
    char leader[64];
    uint64_t end_us, waiting;
    int status;
    struct bytes reply;
} b;

/* ---- time ---- */

static double cpu_of(long pid)
{
    char path[64], text[1024];
    unsigned long user, system;
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t size = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[size] = '\0';
    char *at = strrchr(text, ')');
    for (unsigned i = 0; at && i < 12; i++) /* utime is the 14th field, the name the second */
        at = strchr(at + 1, ' ');
    if (!at)
        return 0;
    user = strtoul(at, &at, 10);
    system = strtoul(at, NULL, 10);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double cpu_own(void)
{
    struct timespec t;
    CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct usage {
    double own, servers[PIDS_MAX];
    uint64_t start_us;
};

static struct usage usage_begin(void)
{
    struct usage u = {.own = cpu_own(), .start_us = loop_now_us()};
    for (unsigned i = 0; i < b.pid_count; i++)
        u.servers[i] = cpu_of(b.pids[i]);
    return u;
}

static void usage_print(const struct usage *u, uint64_t count)
{
    double seconds = (double)(loop_now_us() - u->start_us) / 1e6, n = (double)(count ? count : 1);
    printf("%.0f/s; CPU-us per operation: client %.2f", (double)count / seconds,
           (cpu_own() - u->own) * 1e6 / n);
    for (unsigned i = 0; i < b.pid_count; i++)
        printf(", server %u %.2f", i + 1, (cpu_of(b.pids[i]) - u->servers[i]) * 1e6 / n);
}

/* ---- one call to the leader ---- */

static void on_one(void *arg, struct rpc_reply *reply)
{
    (void)arg;
    b.status = reply->status;
    bytes_clear(&b.reply);
    bytes_append(&b.reply, reply->body.data, reply->body.size);
    loop_stop(b.loop);
}

static int call_leader(struct rpc_leader *leader, uint16_t code, struct bytes *body,
                       unsigned deadline_ms)
{
    struct rpc_call_options o = {
        .code = code, .body = bytes_slice(body), .deadline_ms = loop_now_ms() + deadline_ms};
    (void)rpc_leader_call(leader, &o, on_one, NULL);
    loop_run(b.loop);
    bytes_release(body);
    return b.status;
}

static struct rpc_leader *leader_create(void)
{
    struct rpc_leader_options o = {.addresses = b.addresses,
                                   .address_count = b.address_count,
                                   .identity = &b.identity,
                                   .try_timeout_ms = 300,
                                   .seed = random_u64()};
    return rpc_leader_create(b.loop, &o);
}

/* Asks for the root directory; leaves the leader's address in b.leader. */
static int find_leader(unsigned deadline_ms)
{
    struct bytes body = {0};
    struct rpc_leader *leader = leader_create();
    encode_meta_getattr(&body, &(struct msg_meta_getattr){.inode = ROOT_INODE});
    int status = call_leader(leader, MSG_meta_getattr, &body, deadline_ms);
    const char *address = rpc_leader_address(leader);
    (void)snprintf(b.leader, sizeof b.leader, "%s", address ? address : "");
    rpc_leader_destroy(leader);
    return status;
}

static int print_leader(void)
{
    struct bytes body = {0};
    struct msg_status_r r;
    struct rpc_leader *leader = leader_create();
    encode_status(&body, &(struct msg_status){0});
    int status = call_leader(leader, MSG_status, &body, 30000);
    const char *address = rpc_leader_address(leader);
    if (status != 0 || decode_status_r(bytes_slice(&b.reply), WIRE_VERSION, &r) != 0)
        return fprintf(stderr, "meta-client: %s\n", err_text(status)), 1;
    uint64_t lowest = UINT64_MAX;
    struct rec_meta_status row;
    while (rec_meta_status_next(&r.metas.raw, &row))
        lowest = row.match_index < lowest ? row.match_index : lowest;
    printf("%s %llu %llu %llu %llu\n", address ? address : "-", (unsigned long long)r.term,
           (unsigned long long)r.applied_index, (unsigned long long)lowest,
           (unsigned long long)r.checkpoint_index);
    rpc_leader_destroy(leader);
    return 0;
}

/* The shard table: whoever has opened its state answers. */
static int first_answer(void)
{
    struct bytes body = {0};
    uint64_t end_ms = loop_now_ms() + 120000;
    encode_shard_table(&body, &(struct msg_shard_table){.since = UINT64_MAX});
    do {
        struct rpc_peer_options options = {.address = b.addresses[0], .identity = &b.identity};
        struct rpc_call_options call = {.code = MSG_shard_table,
                                        .body = bytes_slice(&body),
                                        .deadline_ms = loop_now_ms() + 60000};
        struct rpc_peer *peer = rpc_peer_create(b.loop, &options);
        (void)rpc_call(peer, &call, on_one, NULL);
        loop_run(b.loop);
        rpc_peer_destroy(peer);
        (void)usleep(2000);
    } while (b.status != 0 && loop_now_ms() < end_ms);
    bytes_release(&body);
    return b.status != 0;
}

/* ---- look-ups ---- */

struct lookups {
    uint64_t files, done;
    struct prng prng;
    struct bytes body;
};

struct connection {
    struct lookups *all;
    struct rpc_peer *peer;
};

static void ask(struct connection *c);

static void on_answer(void *arg, struct rpc_reply *reply)
{
    struct connection *c = arg;
    CHECK(reply->status == 0 && reply->code == MSG_meta_entry_r);
    b.waiting--;
    c->all->done++;
    if (loop_tick_ms(b.loop) < b.end_us / 1000)
        ask(c);
    else if (b.waiting == 0)
        loop_stop(b.loop);
}

static void ask(struct connection *c)
{
    struct lookups *l = c->all;
    char name[META_NAME_SIZE];
    uint64_t file = prng_below(&l->prng, l->files);
    struct rpc_call_options call = {.code = l->done & 1 ? MSG_meta_lookup : MSG_meta_getattr};
    bytes_clear(&l->body);
    if (call.code == MSG_meta_lookup)
        encode_meta_lookup(&l->body, &(struct msg_meta_lookup){.parent = meta_directory_inode(file),
                                                               .name = meta_file_name(file, name)});
    else
        encode_meta_getattr(&l->body, &(struct msg_meta_getattr){.inode = meta_file_inode(file)});
    call.body = bytes_slice(&l->body);
    b.waiting++;
    (void)rpc_call(c->peer, &call, on_answer, c);
}

static int look_up(uint64_t files, unsigned connections, unsigned depth, unsigned seconds)
{
    static struct connection all[CLIENTS_MAX];
    struct lookups l = {.files = files};
    prng_init(&l.prng, random_u64());
    if (connections > CLIENTS_MAX || depth > DEPTH_MAX || find_leader(30000) != 0)
        return 1;
    struct rpc_peer_options options = {.address = b.leader, .identity = &b.identity};
    for (unsigned i = 0; i < connections; i++)
        all[i] = (struct connection){&l, rpc_peer_create(b.loop, &options)};
    struct usage usage = usage_begin();
    b.end_us = loop_now_us() + (uint64_t)seconds * 1000000;
    for (unsigned i = 0; i < connections * depth; i++)
        ask(&all[i % connections]);
    loop_run(b.loop);
    printf("%llu ", (unsigned long long)l.done);
    usage_print(&usage, l.done);
    printf("\n");
    for (unsigned i = 0; i < connections; i++) {
        rpc_peer_destroy(all[i].peer);
        all[i] = (struct connection){NULL, NULL};
    }
    bytes_release(&l.body);
    return 0;
}

/* ---- creates ---- */

struct client {
    struct rpc_leader *leader;
    uint64_t session, directory, sequence;
    uint64_t open[DEPTH_MAX]; /* sequences in flight */
};

struct create {
    struct client *client;
    unsigned slot;
    uint64_t start_us;
};

static struct {
    struct client clients[CLIENTS_MAX];
    uint32_t *samples_us;
    uint64_t done, failed, last_us, longest_us, longest_at_us;
    unsigned depth, number;
    struct bytes body;
} creates;

static struct wire_caller next_caller(struct client *c, unsigned slot)
{
    uint64_t lowest = ++c->sequence;
    c->open[slot] = lowest;
    for (unsigned i = 0; i < creates.depth; i++)
        if (c->open[i] && c->open[i] < lowest)
            lowest = c->open[i];
    return (struct wire_caller){
        .session = c->session, .sequence = c->sequence, .lowest_unanswered = lowest};
}

static void create(struct create *one);

static void on_created(void *arg, struct rpc_reply *reply)
{
    struct create *one = arg;
    uint64_t now_us = loop_now_us();
    one->client->open[one->slot] = 0;
    if (reply->status == 0) {
        if (creates.done < SAMPLES_MAX)
            creates.samples_us[creates.done] = (uint32_t)(now_us - one->start_us);
        creates.done++;
        if (creates.last_us && now_us - creates.last_us > creates.longest_us) {
            creates.longest_us = now_us - creates.last_us;
            creates.longest_at_us = now_us;
        }
        creates.last_us = now_us;
    } else {
        if (creates.failed++ == 0)
            fprintf(stderr, "meta-client: create: %s %s\n", err_text(reply->status), reply->detail);
    }
    b.waiting--;
    if (now_us < b.end_us)
        create(one);
    else if (b.waiting == 0)
        loop_stop(b.loop);
}

static void create(struct create *one)
{
    char name[64];
    struct client *c = one->client;
    (void)snprintf(name, sizeof name, "f%05x-%09llu", creates.number,
                   (unsigned long long)c->sequence);
    bytes_clear(&creates.body);
    encode_meta_create(&creates.body, &(struct msg_meta_create){.caller = next_caller(c, one->slot),
                                                                .parent = c->directory,
                                                                .name = slice_str(name),
                                                                .mode = 0644});
    struct rpc_call_options call = {.code = MSG_meta_create,
                                    .body = bytes_slice(&creates.body),
                                    .deadline_ms = loop_now_ms() + 30000};
    one->start_us = loop_now_us();
    b.waiting++;
    (void)rpc_leader_call(c->leader, &call, on_created, one);
}

static int client_begin(struct client *c, unsigned which)
{
    struct bytes body = {0};
    struct msg_session_open_r begun;
    struct msg_meta_entry_r made;
    char name[64];
    struct msg_session_open open = {.name = slice_str("bench"), .mount = slice_str("/")};
    uint64_t word[2] = {random_u64(), random_u64()};
    memcpy(&open.client, word, sizeof open.client);
    c->leader = leader_create();
    encode_session_open(&body, &open);
    int status = call_leader(c->leader, MSG_session_open, &body, 30000);
    if (status == 0)
        status = decode_session_open_r(bytes_slice(&b.reply), WIRE_VERSION, &begun);
    if (status != 0)
        return status;
    c->session = begun.session;
    (void)snprintf(name, sizeof name, "clients-%llx-%u", (unsigned long long)word[0], which);
    encode_meta_mkdir(&body, &(struct msg_meta_mkdir){.caller = next_caller(c, 0),
                                                      .parent = ROOT_INODE,
                                                      .name = slice_str(name),
                                                      .mode = 0755});
    status = call_leader(c->leader, MSG_meta_mkdir, &body, 30000);
    c->open[0] = 0;
    if (status == 0)
        status = decode_meta_entry_r(bytes_slice(&b.reply), WIRE_VERSION, &made);
    c->directory = status == 0 ? made.attr.inode : 0;
    return status;
}

static void client_end(struct client *c)
{
    struct bytes body = {0};
    encode_session_close(&body, &(struct msg_session_close){.session = c->session});
    (void)call_leader(c->leader, MSG_session_close, &body, 10000);
    rpc_leader_destroy(c->leader);
}

static int compare(const void *left, const void *right)
{
    uint32_t x = *(const uint32_t *)left, y = *(const uint32_t *)right;
    return x < y ? -1 : x > y;
}

static double percentile_ms(uint64_t count, double part)
{
    return count ? (double)creates.samples_us[(uint64_t)((double)(count - 1) * part)] / 1000 : 0;
}

static int run_creates(unsigned clients, unsigned depth, unsigned seconds)
{
    static struct create slots[CLIENTS_MAX * 64];
    creates.samples_us = malloc(SAMPLES_MAX * sizeof *creates.samples_us);
    CHECK(creates.samples_us != NULL);
    creates.depth = depth;
    creates.number = (unsigned)getpid() & 0xfffff;
    if (clients == 0 || clients > CLIENTS_MAX || depth == 0 || depth > 64)
        return 2;
    for (unsigned i = 0; i < clients; i++) {
        int status = client_begin(&creates.clients[i], i);
        if (status != 0)
            return fprintf(stderr, "meta-client: session: %s\n", err_text(status)), 1;
    }
    struct usage usage = usage_begin();
    b.end_us = loop_now_us() + (uint64_t)seconds * 1000000;
    for (unsigned i = 0; i < clients * depth; i++) {
        slots[i] = (struct create){.client = &creates.clients[i % clients], .slot = i / clients};
        create(&slots[i]);
    }
    loop_run(b.loop);
    usage_print(&usage, creates.done);
    uint64_t count = creates.done < SAMPLES_MAX ? creates.done : SAMPLES_MAX;
    qsort(creates.samples_us, count, sizeof *creates.samples_us, compare);
    printf("; ms p50 %.2f p99 %.2f p99.9 %.2f max %.2f; longest gap %llu ms; failed %llu\n",
           percentile_ms(count, 0.5), percentile_ms(count, 0.99), percentile_ms(count, 0.999),
           percentile_ms(count, 1), (unsigned long long)creates.longest_us / 1000,
           (unsigned long long)creates.failed);
    for (unsigned i = 0; i < clients; i++)
        client_end(&creates.clients[i]);
    bytes_release(&creates.body);
    free(creates.samples_us);
    return creates.failed != 0;
}

/* ---- main ---- */

static void parse(char *addresses, char *pids)
{
    for (char *word; (word = strsep(&addresses, ",")) != NULL;)
        if (*word && b.address_count < RPC_LEADER_ADDRESSES_MAX)
            b.addresses[b.address_count++] = word;
    for (char *word; (word = strsep(&pids, ",")) != NULL;)
        if (strtol(word, NULL, 10) > 0 && b.pid_count < PIDS_MAX)
            b.pids[b.pid_count++] = strtol(word, NULL, 10);
}

static unsigned number(char **argv, int i)
{
    return (unsigned)strtoul(argv[i], NULL, 10);
}

int main(int argc, char **argv)
{
    const char *what = argc > 3 ? argv[3] : "";
    int code = 2;
    b.identity = (struct rpc_identity){.role = ROLE_CLIENT, .instance = random_u64()};
    CHECK(uuid_parse(META_CLUSTER, &b.identity.cluster) == 0);
    b.loop = loop_create();
    if (argc > 3)
        parse(argv[1], argv[2]);
    if (strcmp(what, "lookup") == 0 && argc == 8)
        code =
            look_up(strtoull(argv[4], NULL, 10), number(argv, 5), number(argv, 6), number(argv, 7));
    else if (strcmp(what, "create") == 0 && argc == 7)
        code = run_creates(number(argv, 4), number(argv, 5), number(argv, 6));
    else if (strcmp(what, "first") == 0)
        code = find_leader(120000) != 0;
    else if (strcmp(what, "answer") == 0)
        code = first_answer();
    else if (strcmp(what, "leader") == 0)
        code = print_leader();
    else
        fprintf(stderr, "meta-client ADDRESSES PIDS lookup FILES CONNECTIONS DEPTH SECONDS |\n"
                        "    create CLIENTS DEPTH SECONDS | first | answer | leader\n");
    bytes_release(&b.reply);
    loop_destroy(b.loop);
    return code;
}
