/* Which cluster a command means, and a client for it. */
#include "tools/connect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

int cluster_of_path(const char *path, char ret_cluster[CLUSTER_TEXT_MAX])
{
    ssize_t size = getxattr(path, "user.cairn.cluster", ret_cluster, CLUSTER_TEXT_MAX - 1);
    if (size <= 0)
        return -ERR_NO_ENTRY;
    ret_cluster[size] = '\0';
    return 0;
}

int cluster_of(const struct arguments *a, const char *path, char ret_cluster[CLUSTER_TEXT_MAX])
{
    const char *named = option_text(a, "cluster");
    if (!named)
        named = getenv("CAIRN_CLUSTER");
    if (named && *named) {
        (void)snprintf(ret_cluster, CLUSTER_TEXT_MAX, "%s", named);
        return EXIT_GOOD;
    }
    if ((path && cluster_of_path(path, ret_cluster) == 0) || cluster_of_path(".", ret_cluster) == 0)
        return EXIT_GOOD;
    return complain_text(EXIT_USAGE,
                         "which cluster?\n  try: --cluster FOLDER (of cairn dev up) or --cluster "
                         "host:port,host:port, or set CAIRN_CLUSTER, or stand inside a mount");
}

static int start_client(const struct client_options *options, struct blocking_client **ret_client)
{
    char why[BLOCKING_WHY_SIZE] = "";
    int status = blocking_start(options, ret_client, why);
    if (status == 0)
        return EXIT_GOOD;
    return complain_text((enum exit_code)exit_of(status),
                         "cannot reach the cluster %s: %s\n  %s\n"
                         "  try: cairn dev status --dir FOLDER, cairn dev start --dir FOLDER all",
                         options->cluster, err_text(status), why);
}

int connect_to(const char *cluster, bool files, struct blocking_client **ret_client)
{
    struct client_options options = {.cluster = cluster, .no_session = !files, .no_cache = true};
    return start_client(&options, ret_client);
}

int connect_admin(const char *cluster, struct blocking_client **ret_client)
{
    struct client_options options = {
        .cluster = cluster, .no_session = true, .no_cache = true, .deadline_ms = ADMIN_DEADLINE_MS};
    return start_client(&options, ret_client);
}

int status_fetch(struct blocking_client *b, struct bytes *bytes, struct msg_status_r *ret_status,
                 struct err_text *why)
{
    uint16_t code;
    struct bytes body = {0};
    struct msg_status ask = {0};
    encode_status(&body, &ask);
    int status = blocking_leader_call(b, MSG_status, bytes_slice(&body), &code, bytes, why);
    bytes_release(&body);
    if (status != 0)
        return status;
    return code == MSG_status_r ? decode_status_r(bytes_slice(bytes), WIRE_VERSION, ret_status)
                                : -ERR_PROTOCOL;
}
