/* cairn dev add-chunk, remove-chunk: a chunkserver more or less, while the cluster runs. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/net/loop.h"
#include "tools/admin.h"
#include "tools/commands.h"
#include "tools/dev_cluster.h"
#include "tools/text.h"

enum { REGISTER_LIMIT_MS = 30000, STOP_LIMIT_MS = 20000, POLL_US = 100000 };

static int load(const struct arguments *a, struct dev_cluster *ret_cluster)
{
    struct err_text why = {""};
    const char *folder = option_text(a, "dir");
    if (!folder)
        folder = getenv("CAIRN_DEV");
    if (!folder)
        return complain_text(EXIT_USAGE, "which folder?\n  try: --dir FOLDER");
    int status = dev_cluster_load(folder, ret_cluster, &why);
    return status == 0 ? EXIT_GOOD : complain_text((enum exit_code)exit_of(status), "%s", why.text);
}

/* What the leader knows of the targets called `name`. */
struct view {
    struct blocking_client *client;
    struct bytes bytes;
    struct msg_status_r status;
    struct target_set set;
};

static int look(struct view *v, const char *name, struct err_text *why)
{
    bytes_clear(&v->bytes);
    int status = status_fetch(v->client, &v->bytes, &v->status, why);
    return status ? status : targets_choose(&v->status, &name, 1, false, &v->set, why);
}

static void view_end(struct view *v)
{
    bytes_release(&v->bytes);
    (void)blocking_stop(v->client);
}

/* ---- add ---- */

static bool all_are_up(const struct view *v)
{
    struct rec_target_status t;
    for (unsigned i = 0; i < v->set.count; i++)
        if (!target_find(&v->status, v->set.refs[i].target, &t) || t.state != TARGET_UP)
            return false;
    return true;
}

/* It registers by itself; here somebody wants to know that it did. */
static int wait_until_up(const struct dev_cluster *c, const char *name, const char *address)
{
    struct view v = {0};
    struct err_text why = {""};
    uint64_t begun = loop_now_ms();
    char took[TEXT_SIZE];
    int code = connect_admin(c->folder, &v.client);
    if (code != EXIT_GOOD)
        return code;
    int status;
    do {
        status = look(&v, name, &why);
        if (status == 0 && !all_are_up(&v))
            status = -ERR_NO_LEASE;
        if (status != 0)
            (void)usleep(POLL_US);
    } while (status != 0 && loop_now_ms() < begun + REGISTER_LIMIT_MS);
    view_end(&v);
    if (status != 0)
        return complain_text(EXIT_NO_LEADER, "%s did not register within %d s; see %s/%s/log", name,
                             REGISTER_LIMIT_MS / 1000, c->folder, name);
    (void)printf("%s (%s) is a server of the cluster, after %s; see: cairn server ls\n", name,
                 address, text_duration(loop_now_ms() - begun, took));
    return EXIT_GOOD;
}

int command_dev_add_chunk(const struct arguments *a)
{
    struct dev_cluster c = {0};
    struct dev_daemon d;
    struct err_text why = {""};
    char name[DEV_NAME_MAX], address[64];
    int code = load(a, &c);
    if (code != EXIT_GOOD)
        return code;
    int status = dev_cluster_add_chunk(&c, &d, &why);
    if (status == 0)
        status = dev_daemon_start(&c, d, &why);
    if (status != 0)
        return complain_text((enum exit_code)exit_of(status), "%s", why.text);
    dev_daemon_name(d, name);
    dev_daemon_address(&c, d, address, sizeof address);
    return wait_until_up(&c, name, address);
}

/* ---- remove ---- */

/* As far as the leader knows now; it checks again when it removes them. */
static bool all_are_empty(const struct view *v)
{
    struct rec_target_status t;
    for (unsigned i = 0; i < v->set.count; i++)
        if (target_find(&v->status, v->set.refs[i].target, &t) &&
            (t.admin != TARGET_DRAINING || t.slots > 0))
            return false;
    return true;
}

static int not_drained(const struct dev_cluster *c, const char *name)
{
    return complain_text(EXIT_REFUSED,
                         "refused: %s still holds what is needed\n  cairn server drain %s --wait "
                         "--cluster %s",
                         name, name, c->folder);
}

/* It stops first: one that runs would register again. */
static int remove_known(const struct dev_cluster *c, struct dev_daemon d, struct view *v,
                        const char *name)
{
    struct err_text why = {""};
    if (!all_are_empty(v))
        return not_drained(c, name);
    int status = dev_daemon_stop(c, d, SIGTERM, STOP_LIMIT_MS, &why);
    if (status != 0)
        return complain_text((enum exit_code)exit_of(status), "%s", why.text);
    status = targets_remove(v->client, &v->set, false, &why);
    if (status == 0)
        return EXIT_GOOD;
    struct err_text start_why = {""};
    (void)dev_daemon_start(c, d, &start_why);
    return complain_text((enum exit_code)exit_of(status), "%s cannot be removed: %s", name,
                         why.text);
}

int command_dev_remove_chunk(const struct arguments *a)
{
    struct dev_cluster c = {0};
    struct dev_daemon d;
    struct view v = {0};
    struct err_text why = {""};
    const char *name = a->words[0];
    int code = load(a, &c);
    if (code != EXIT_GOOD)
        return code;
    if (dev_daemon_parse(&c, name, &d, &why) != 0 || d.kind != DEV_CHUNK)
        return complain_text(EXIT_NOT_FOUND, "no chunkserver '%.40s' here\n  try: cairn dev status",
                             name);
    code = connect_admin(c.folder, &v.client);
    if (code != EXIT_GOOD)
        return code;
    int status = look(&v, name, &why);
    if (status == 0)
        code = remove_known(&c, d, &v, name);
    else if (status != -ERR_NO_ENTRY) /* else it is removed already, and was not forgotten here */
        code = complain(status, "no status of the cluster (%s)", why.text);
    view_end(&v);
    if (code != EXIT_GOOD)
        return code;
    status = dev_daemon_stop(&c, d, SIGTERM, STOP_LIMIT_MS, &why);
    if (status == 0)
        status = dev_cluster_remove_chunk(&c, d.number, &why);
    if (status != 0)
        return complain_text((enum exit_code)exit_of(status), "%s", why.text);
    (void)printf("%s is removed; its folder %s/%s is of no more use\n", name, c.folder, name);
    return EXIT_GOOD;
}
