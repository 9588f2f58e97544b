/* Reads what a person writes to name a cluster: addresses, or the folder of a local one. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/client/client.h"

#include "common/base/banned.h"

#define DEFAULT_PORT "7001"

static int add(struct client_cluster *cluster, const char *at, size_t size, struct err_text *why)
{
    while (size != 0 && isspace((unsigned char)at[0])) {
        at++;
        size--;
    }
    while (size != 0 && isspace((unsigned char)at[size - 1]))
        size--;
    if (size == 0)
        return 0;
    if (cluster->count == CLIENT_ADDRESSES_MAX)
        return err_set(ERR_CONFIG, why, "more than %d addresses", CLIENT_ADDRESSES_MAX);
    if (size >= CLIENT_ADDRESS_SIZE - sizeof DEFAULT_PORT)
        return err_set(ERR_CONFIG, why, "address too long: %.40s...", at);
    for (size_t i = 0; i < size; i++)
        if (at[i] == '/' || isspace((unsigned char)at[i]) || iscntrl((unsigned char)at[i]))
            return err_set(ERR_CONFIG, why, "not an address: %.*s", (int)size, at);
    const char *close = memchr(at, ']', size);
    const char *from = close ? close : at;
    bool has_port = memchr(from, ':', size - (size_t)(from - at)) != NULL;
    char *to = cluster->address[cluster->count++];
    snprintf(to, CLIENT_ADDRESS_SIZE, "%.*s%s", (int)size, at, has_port ? "" : ":" DEFAULT_PORT);
    return 0;
}

static int add_all(struct client_cluster *cluster, const char *text, struct err_text *why)
{
    int status = 0;
    while (*text != 0 && status == 0) {
        size_t size = strcspn(text, ",\n");
        if (*text != '#') /* a comment line in the file */
            status = add(cluster, text, size, why);
        text += size + (text[size] != 0);
    }
    return status;
}

static int read_folder(const char *folder, struct client_cluster *cluster, struct err_text *why)
{
    char path[4096], text[CLIENT_ADDRESSES_MAX * CLIENT_ADDRESS_SIZE];
    if ((size_t)snprintf(path, sizeof path, "%s/metaservers", folder) >= sizeof path)
        return err_set(ERR_CONFIG, why, "path too long: %.60s...", folder);
    FILE *file = fopen(path, "re");
    if (!file)
        return err_set(ERR_CONFIG, why, "%s: %s; is it the folder of `cairn dev up`?", path,
                       strerror(errno));
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    return add_all(cluster, text, why);
}

int client_cluster_parse(const char *text, struct client_cluster *ret_cluster, struct err_text *why)
{
    struct client_cluster cluster = {0};
    struct stat st;
    int status;
    if (text == NULL || *text == 0)
        return err_set(ERR_CONFIG, why, "no cluster was named");
    if (strchr(text, '/') || (stat(text, &st) == 0 && S_ISDIR(st.st_mode)))
        status = read_folder(text, &cluster, why);
    else
        status = add_all(&cluster, text, why);
    if (status != 0)
        return status;
    if (cluster.count == 0)
        return err_set(ERR_CONFIG, why, "no address in \"%.100s\"", text);
    *ret_cluster = cluster;
    return 0;
}
