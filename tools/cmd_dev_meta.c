/* cairn dev add-meta, remove-meta: a metaserver more or less, while the cluster runs. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/dev_cluster.h"
#include "tools/meta_change.h"

enum {
    CHANGE_LIMIT_S = 60,
    STOP_LIMIT_MS = 20000,
    LEARN_S = 5, /* clients and chunkservers ask for the list every 3 s */
};

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

int command_dev_add_meta(const struct arguments *a)
{
    struct dev_cluster c = {0};
    struct dev_daemon d;
    struct err_text why = {""};
    char address[64];
    int code = load(a, &c);
    if (code != EXIT_GOOD)
        return code;
    int status = dev_cluster_add_meta(&c, &d, &why);
    if (status == 0)
        status = dev_daemon_start(&c, d, &why);
    if (status != 0)
        return complain_text((enum exit_code)exit_of(status), "%s", why.text);
    dev_daemon_address(&c, d, address, sizeof address);
    return meta_add(c.folder, d.number, address, CHANGE_LIMIT_S);
}

int command_dev_remove_meta(const struct arguments *a)
{
    struct dev_cluster c = {0};
    struct dev_daemon d;
    struct err_text why = {""};
    int code = load(a, &c);
    if (code != EXIT_GOOD)
        return code;
    if (dev_daemon_parse(&c, a->words[0], &d, &why) != 0 || d.kind != DEV_META)
        return complain_text(EXIT_NOT_FOUND, "no metaserver '%.40s' here\n  try: cairn dev status",
                             a->words[0]);
    code = meta_remove(c.folder, d.number, CHANGE_LIMIT_S);
    /* Not found: an earlier run was broken off behind the removal. */
    if (code != EXIT_GOOD && code != EXIT_NOT_FOUND)
        return code;
    /* It may be all that some client knows: until that has learnt better, it names the others. */
    if (dev_daemon_pid(&c, d) != 0)
        (void)sleep(LEARN_S);
    int status = dev_daemon_stop(&c, d, SIGTERM, STOP_LIMIT_MS, &why);
    if (status == 0)
        status = dev_cluster_remove_meta(&c, d.number, &why);
    return status == 0 ? EXIT_GOOD : complain_text((enum exit_code)exit_of(status), "%s", why.text);
}
