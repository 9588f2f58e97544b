/* cairn dev: a whole cluster on this machine under one folder. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/connect.h"
#include "tools/dev_cluster.h"
#include "tools/health.h"
#include "tools/text.h"

enum { LEADER_LIMIT_MS = 20000, SERVERS_LIMIT_MS = 30000, STOP_LIMIT_MS = 20000, POLL_US = 50000 };

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const char *folder_of(const struct arguments *a)
{
    const char *folder = option_text(a, "dir");
    return folder ? folder : getenv("CAIRN_DEV");
}

static int load(const struct arguments *a, struct dev_cluster *ret_cluster)
{
    struct err_text why = {""};
    const char *folder = folder_of(a);
    if (!folder)
        return complain_text(EXIT_USAGE, "which folder?\n  try: --dir FOLDER");
    int status = dev_cluster_load(folder, ret_cluster, &why);
    return status == 0 ? EXIT_GOOD : complain_text((enum exit_code)exit_of(status), "%s", why.text);
}

/* ---- what the leader says ---- */

struct cluster_state {
    bool has_leader;
    uint32_t leader;
    uint64_t term;
    unsigned targets_up, targets;
    bool is_formed;
};

/* `client` is made when it is NULL. */
static bool ask(const char *folder, struct blocking_client **client, struct cluster_state *ret)
{
    char why[BLOCKING_WHY_SIZE];
    struct client_options options = {
        .cluster = folder, .no_session = true, .connect_ms = 2000, .deadline_ms = 1000};
    struct bytes bytes = {0};
    struct msg_status_r s;
    struct err_text text;
    memset(ret, 0, sizeof *ret);
    if (!*client && blocking_start(&options, client, why) != 0) {
        *client = NULL;
        return false;
    }
    if (status_fetch(*client, &bytes, &s, &text) == 0) {
        struct slice cursor = s.targets.raw;
        struct rec_target_status t;
        ret->has_leader = true;
        ret->leader = s.leader;
        ret->term = s.term;
        ret->is_formed = s.shards_full + s.shards_under + s.shards_unavailable > 0;
        while (rec_target_status_next(&cursor, &t)) {
            ret->targets++;
            ret->targets_up += t.state == TARGET_UP && t.heard_ms != UINT32_MAX;
        }
    }
    bytes_release(&bytes);
    return ret->has_leader;
}

/* Waits for a leader, and with `targets` > 0 for so many servers and the shards. */
static bool wait_for(const struct dev_cluster *c, unsigned targets, unsigned limit_ms,
                     struct cluster_state *ret)
{
    struct blocking_client *client = NULL;
    uint64_t end = now_ms() + limit_ms;
    bool good = false;
    while (!good && now_ms() < end) {
        bool answered = ask(c->folder, &client, ret);
        good = answered && (targets == 0 || (ret->targets_up >= targets && ret->is_formed));
        if (!good)
            (void)usleep(POLL_US);
    }
    if (client)
        (void)blocking_stop(client);
    return good;
}

/* ---- up ---- */

static int check_flags(const struct arguments *a, const struct dev_cluster *c)
{
    static const char *const names[] = {"meta", "chunk", "targets", "replicas"};
    const unsigned have[] = {c->meta_count, c->chunk_count, c->target_count, c->copies};
    struct err_text why = {""};
    for (unsigned i = 0; i < sizeof have / sizeof have[0]; i++) {
        unsigned asked = 0;
        if (!option_given(a, names[i]))
            continue;
        if (option_number(a, names[i], have[i], 1, 64, &asked, &why) != 0)
            return complain_text(EXIT_USAGE, "%s", why.text);
        if (asked != have[i])
            return complain_text(
                EXIT_REFUSED,
                "the cluster in %s has --%s %u; it cannot become %u\n"
                "  leave the option out, or make another cluster in another folder",
                c->folder, names[i], have[i], asked);
    }
    return EXIT_GOOD;
}

static int make(const struct arguments *a, const char *folder, struct dev_cluster *ret_cluster)
{
    struct dev_cluster wanted = {0};
    struct err_text why = {""};
    if (option_number(a, "meta", 3, 1, DEV_META_MAX, &wanted.meta_count, &why) != 0 ||
        option_number(a, "chunk", 4, 1, DEV_CHUNK_MAX, &wanted.chunk_count, &why) != 0 ||
        option_number(a, "targets", 1, 1, DEV_TARGETS_MAX, &wanted.target_count, &why) != 0 ||
        option_number(a, "replicas", wanted.chunk_count < 2 ? 1 : 2, 1, 5, &wanted.copies, &why) !=
            0)
        return complain_text(EXIT_USAGE, "%s", why.text);
    int status = dev_cluster_make(folder, &wanted, ret_cluster, &why);
    return status == 0 ? EXIT_GOOD : complain_text((enum exit_code)exit_of(status), "%s", why.text);
}

static int start_kind(const struct dev_cluster *c, enum dev_kind kind, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct err_text why = {""};
        int status = dev_daemon_start(c, dev_daemon_at(c, kind, i), &why);
        if (status != 0)
            return complain_text((enum exit_code)exit_of(status), "%s", why.text);
    }
    return EXIT_GOOD;
}

static void print_line(const char *what, const char *letter, const struct dev_seat *seats,
                       unsigned count, unsigned ports, const char *more, uint64_t took_ms)
{
    char names[256] = "", took[TEXT_SIZE];
    for (unsigned i = 0, at = 0; i < count && at < sizeof names - 16; i++)
        at += (unsigned)snprintf(names + at, sizeof names - at, "%s%s%u", i ? " " : "", letter,
                                 seats[i].number);
    (void)printf(" \xe2\x9c\x93 %-9s %-22s 127.0.0.1:%u-%u   %s   %s\n", what, names, seats[0].port,
                 seats[count - 1].port + ports - 1, more, text_duration(took_ms, took));
}

static int start_servers(const struct dev_cluster *c, struct cluster_state *ret_state)
{
    char leader[64] = "";
    uint64_t begun = now_ms();
    int code = start_kind(c, DEV_META, c->meta_count);
    if (code != EXIT_GOOD)
        return code;
    if (!wait_for(c, 0, LEADER_LIMIT_MS, ret_state))
        return complain_text(EXIT_NO_LEADER,
                             "no leader among the %u metaservers after %d s; see %s/m1/log",
                             c->meta_count, LEADER_LIMIT_MS / 1000, c->folder);
    (void)snprintf(leader, sizeof leader, "leader m%u (term %llu)", ret_state->leader,
                   (unsigned long long)ret_state->term);
    print_line("metadata", "m", c->metas, c->meta_count, 1, leader, now_ms() - begun);
    begun = now_ms();
    code = start_kind(c, DEV_CHUNK, c->chunk_count);
    if (code != EXIT_GOOD)
        return code;
    unsigned targets = c->chunk_count * c->target_count;
    if (!wait_for(c, targets, SERVERS_LIMIT_MS, ret_state))
        return complain_text(
            EXIT_NO_LEADER, "only %u of %u %s have registered after %d s; see %s/c1/log",
            ret_state->targets_up, targets, c->target_count > 1 ? "targets" : "chunkservers",
            SERVERS_LIMIT_MS / 1000, c->folder);
    (void)snprintf(leader, sizeof leader, "%u copies of everything", c->copies);
    if (c->target_count > 1)
        (void)snprintf(leader, sizeof leader, "%u copies of everything, %u targets each", c->copies,
                       c->target_count);
    print_line("chunk", "c", c->chunks, c->chunk_count, c->target_count, leader, now_ms() - begun);
    return EXIT_GOOD;
}

int command_dev_up(const struct arguments *a)
{
    struct dev_cluster c = {0};
    struct cluster_state state = {0};
    struct err_text why = {""};
    const char *folder = folder_of(a), *mount = option_text(a, "mount");
    if (!folder)
        return complain_text(EXIT_USAGE,
                             "which folder?\n  try: cairn dev up --dir FOLDER --mount FOLDER2");
    char path[DEV_PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/cluster.ini", folder);
    int code = access(path, F_OK) == 0 ? load(a, &c) : make(a, folder, &c);
    if (code == EXIT_GOOD)
        code = check_flags(a, &c);
    if (code == EXIT_GOOD)
        code = start_servers(&c, &state);
    if (code != EXIT_GOOD)
        return code;
    if (mount && dev_cluster_set_mount(&c, mount, &why) != 0)
        return complain_text(EXIT_NOT_FOUND, "%s", why.text);
    if (c.mount[0]) {
        int status = dev_daemon_start(&c, (struct dev_daemon){DEV_MOUNT, 1}, &why);
        if (status != 0)
            return complain_text((enum exit_code)exit_of(status), "%s", why.text);
        (void)printf(" \xe2\x9c\x93 %-9s %s\n", "mounted", c.mount);
    }
    (void)printf("Try:  cairn status --cluster %s%s%s\n", c.folder,
                 c.mount[0] ? "      cp -r /usr/share/doc " : "", c.mount);
    (void)printf("Stop: cairn dev down --dir %s      Break it: cairn dev kill --dir %s leader\n",
                 c.folder, c.folder);
    return EXIT_GOOD;
}

/* ---- down, kill, start, status ---- */

static int stop_one(const struct dev_cluster *c, struct dev_daemon d)
{
    struct err_text why = {""};
    int status = dev_daemon_stop(c, d, SIGTERM, STOP_LIMIT_MS, &why);
    if (status == 0)
        return EXIT_GOOD;
    (void)fprintf(stderr, "cairn: %s; killing it\n", why.text);
    status = dev_daemon_stop(c, d, SIGKILL, 5000, &why);
    return status == 0 ? EXIT_GOOD : complain_text(EXIT_ERROR, "%s", why.text);
}

int command_dev_down(const struct arguments *a)
{
    struct dev_cluster c = {0};
    int code = load(a, &c), worst = code;
    if (code != EXIT_GOOD)
        return code;
    if (c.mount[0])
        worst = stop_one(&c, (struct dev_daemon){DEV_MOUNT, 1});
    for (unsigned i = 0; i < c.chunk_count; i++)
        worst = (code = stop_one(&c, dev_daemon_at(&c, DEV_CHUNK, i))) != EXIT_GOOD ? code : worst;
    for (unsigned i = 0; i < c.meta_count; i++)
        worst = (code = stop_one(&c, dev_daemon_at(&c, DEV_META, i))) != EXIT_GOOD ? code : worst;
    if (worst == EXIT_GOOD)
        (void)printf("stopped; its data stays in %s\n", c.folder);
    return worst;
}

static int kill_one(const struct dev_cluster *c, struct dev_daemon d)
{
    char name[DEV_NAME_MAX];
    struct err_text why = {""};
    dev_daemon_name(d, name);
    pid_t pid = dev_daemon_pid(c, d);
    if (pid == 0)
        return EXIT_GOOD;
    if (dev_daemon_stop(c, d, SIGKILL, 5000, &why) != 0)
        return complain_text(EXIT_ERROR, "%s", why.text);
    (void)printf("killed %s (pid %d)\n", name, (int)pid);
    return EXIT_GOOD;
}

/* All servers at once: nobody gets time to notice. */
static int kill_all(const struct dev_cluster *c)
{
    for (int pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < c->meta_count + c->chunk_count; i++) {
            struct dev_daemon d = i < c->meta_count
                                      ? dev_daemon_at(c, DEV_META, i)
                                      : dev_daemon_at(c, DEV_CHUNK, i - c->meta_count);
            pid_t pid = dev_daemon_pid(c, d);
            if (pass == 0 && pid > 0)
                (void)kill(pid, SIGKILL);
            if (pass == 1 && kill_one(c, d) != EXIT_GOOD)
                return EXIT_ERROR;
        }
    }
    (void)printf("killed all %u servers\n", c->meta_count + c->chunk_count);
    return EXIT_GOOD;
}

int command_dev_kill(const struct arguments *a)
{
    struct dev_cluster c = {0};
    int code = load(a, &c);
    for (unsigned i = 0; code == EXIT_GOOD && i < a->word_count; i++) {
        struct dev_daemon d = {DEV_META, 0};
        struct err_text why = {""};
        if (strcmp(a->words[i], "all") == 0) {
            code = kill_all(&c);
            continue;
        }
        if (strcmp(a->words[i], "leader") == 0) {
            struct cluster_state state = {0};
            if (!wait_for(&c, 0, LEADER_LIMIT_MS, &state))
                return complain_text(EXIT_NO_LEADER, "there is no leader now");
            d.number = state.leader;
        } else if (dev_daemon_parse(&c, a->words[i], &d, &why) != 0) {
            return complain_text(EXIT_NOT_FOUND, "%s, leader, all", why.text);
        }
        code = kill_one(&c, d);
    }
    return code;
}

int command_dev_start(const struct arguments *a)
{
    struct dev_cluster c = {0};
    int code = load(a, &c);
    for (unsigned i = 0; code == EXIT_GOOD && i < a->word_count; i++) {
        struct dev_daemon d = {DEV_META, 0};
        struct err_text why = {""};
        if (strcmp(a->words[i], "all") == 0) {
            code = start_kind(&c, DEV_META, c.meta_count);
            if (code == EXIT_GOOD)
                code = start_kind(&c, DEV_CHUNK, c.chunk_count);
            continue;
        }
        int status = dev_daemon_parse(&c, a->words[i], &d, &why);
        if (status == 0)
            status = dev_daemon_start(&c, d, &why);
        if (status != 0)
            code = complain_text((enum exit_code)exit_of(status), "%s", why.text);
    }
    return code;
}

int command_dev_status(const struct arguments *a)
{
    static const char *const head[] = {"NAME", "PID", "ADDRESS"};
    struct dev_cluster c = {0};
    struct text_table table;
    int code = load(a, &c);
    if (code != EXIT_GOOD)
        return code;
    text_table_init(&table, 3);
    text_table_row(&table, head);
    unsigned counts[] = {c.meta_count, c.chunk_count, c.mount[0] ? 1 : 0};
    for (int kind = DEV_META; kind <= DEV_MOUNT; kind++) {
        for (unsigned i = 0; i < counts[kind]; i++) {
            struct dev_daemon d = dev_daemon_at(&c, (enum dev_kind)kind, i);
            char name[DEV_NAME_MAX], pid[32], address[TABLE_CELL_MAX];
            pid_t running = dev_daemon_pid(&c, d);
            dev_daemon_name(d, name);
            dev_daemon_address(&c, d, address, sizeof address);
            (void)snprintf(pid, sizeof pid, "%d", (int)running);
            const char *row[] = {name, running ? pid : "down", address};
            text_table_row(&table, row);
        }
    }
    text_table_print(&table);
    text_table_release(&table);
    return EXIT_GOOD;
}
