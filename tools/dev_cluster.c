/* The folder of a cluster on one machine: layout, configuration files, free ports. */
#include "tools/dev_cluster.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/conf.h"

#define DEV_OPTIONS(X)                                                                  \
    X(cluster, uuid, TEXT, "", 0, 0, "cluster id")                                      \
    X(cluster, copies, NUMBER, "2", 1, 5, "copies of every chunk")                      \
    X(cluster, meta, NUMBER, "3", 1, DEV_META_MAX, "metaservers")                       \
    X(cluster, chunk, NUMBER, "4", 1, DEV_CHUNK_MAX, "chunkservers")                    \
    X(cluster, targets, NUMBER, "1", 1, DEV_TARGETS_MAX, "targets of each chunkserver") \
    X(cluster, metas, TEXT, "", 0, 0, "their numbers and ports")                        \
    X(cluster, meta_last, NUMBER, "0", 0, 1000, "highest number")                       \
    X(cluster, chunks, TEXT, "", 0, 0, "their numbers and ports")                       \
    X(cluster, chunk_last, NUMBER, "0", 0, 1000000, "highest number")                   \
    X(cluster, meta_port, NUMBER, "7001", 1, 65000, "port of m1")                       \
    X(cluster, chunk_port, NUMBER, "7101", 1, 65000, "port of c1")                      \
    X(cluster, mount, TEXT, "", 0, 0, "mount point")
struct dev_options {
    DEV_OPTIONS(CONF_FIELD)
};
#define ROW(...) CONF_ROW(struct dev_options, __VA_ARGS__)
static const struct conf_option dev_table[] = {DEV_OPTIONS(ROW)};
enum { DEV_TABLE_SIZE = sizeof dev_table / sizeof dev_table[0] };

static int write_text(const char *path, const char *text, struct err_text *why)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    size_t size = strlen(text);
    if (fd < 0 || write(fd, text, size) != (ssize_t)size || fsync(fd) != 0) {
        int status = err_set(ERR_IO, why, "cannot write %.180s: %s", path, strerror(errno));
        if (fd >= 0)
            (void)close(fd);
        return status;
    }
    (void)close(fd);
    return 0;
}

static int make_folder(const char *path, struct err_text *why)
{
    struct stat st;
    if (mkdir(path, 0755) == 0 || (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        return 0;
    return err_set(ERR_IO, why, "cannot make the folder %.180s: %s", path, strerror(errno));
}

static void path_in(const struct dev_cluster *c, char ret_path[DEV_PATH_MAX + 64],
                    const char *folder, const char *file)
{
    (void)snprintf(ret_path, DEV_PATH_MAX + 64, "%s/%s%s%s", c->folder, folder, *file ? "/" : "",
                   file);
}

/* ---- cluster.ini ---- */

static void list_seats(const struct dev_seat *seats, unsigned count,
                       char ret_text[DEV_CHUNK_MAX * 16])
{
    ret_text[0] = '\0';
    for (unsigned i = 0, at = 0; i < count; i++)
        at += (unsigned)snprintf(ret_text + at, DEV_CHUNK_MAX * 16 - at, "%s%u:%u", i ? " " : "",
                                 seats[i].number, seats[i].port);
}

static int save(const struct dev_cluster *c, struct err_text *why)
{
    char path[DEV_PATH_MAX + 64], text[DEV_PATH_MAX + 1024 + 2 * DEV_CHUNK_MAX * 16];
    char uuid[UUID_TEXT_SIZE], metas[DEV_CHUNK_MAX * 16], chunks[DEV_CHUNK_MAX * 16];
    list_seats(c->metas, c->meta_count, metas);
    list_seats(c->chunks, c->chunk_count, chunks);
    uuid_format(&c->uuid, uuid);
    (void)snprintf(
        text, sizeof text,
        "; made by `cairn dev up`\n[cluster]\nuuid = %s\ncopies = %u\nmeta = %u\n"
        "metas = %s\nmeta_last = %u\nchunk = %u\ntargets = %u\nchunks = %s\nchunk_last = "
        "%u\nmeta_port = %u\nchunk_port = %u\n"
        "mount = %s\n",
        uuid, c->copies, c->meta_count, metas, c->meta_last, c->chunk_count, c->target_count,
        chunks, c->chunk_last, c->meta_port, c->chunk_port, c->mount);
    path_in(c, path, "cluster.ini", "");
    return write_text(path, text, why);
}

/* Folders of earlier versions have no lists: numbers and ports followed each other. */
static void number_daemons(struct dev_cluster *c)
{
    for (unsigned i = 0; i < c->meta_count; i++)
        c->metas[i] = (struct dev_seat){i + 1, c->meta_port + i};
    for (unsigned i = 0; i < c->chunk_count; i++)
        c->chunks[i] = (struct dev_seat){i + 1, c->chunk_port + i * c->target_count};
    c->meta_last = c->meta_count;
    c->chunk_last = c->chunk_count;
}

/* An empty text leaves them as they are. */
static bool parse_seats(struct dev_seat *seats, unsigned count, const char *text)
{
    for (unsigned i = 0; *text && i < count; i++) {
        char *end;
        seats[i].number = (unsigned)strtoul(text, &end, 10);
        if (end == text || *end != ':' || seats[i].number == 0)
            return false;
        text = end + 1;
        seats[i].port = (unsigned)strtoul(text, &end, 10);
        if (end == text || seats[i].port == 0 || seats[i].port > 65535)
            return false;
        text = end + strspn(end, " ");
        if (*text == '\0' && i + 1 < count)
            return false;
    }
    return *text == '\0';
}

int dev_cluster_load(const char *folder, struct dev_cluster *ret_cluster, struct err_text *why)
{
    struct dev_cluster c = {0};
    struct dev_options values = {0};
    struct conf_command command;
    char path[DEV_PATH_MAX + 64], program[] = "cairn", option[] = "--config";
    if (!realpath(folder, c.folder))
        return err_set(ERR_NO_ENTRY, why, "%.180s: %s", folder, strerror(errno));
    path_in(&c, path, "cluster.ini", "");
    if (access(path, R_OK) != 0)
        return err_set(ERR_NO_ENTRY, why,
                       "%.120s holds no cluster; make one with: cairn dev up --dir %.60s", folder,
                       folder);
    char *argv[] = {program, option, path, NULL};
    /* cluster.ini is the truth here: a variable meant for a daemon must not change it. */
    for (size_t i = 0; i < DEV_TABLE_SIZE; i++) {
        char variable[64] = "CAIRN_";
        for (size_t at = 6, k = 0; dev_table[i].key[k] && at < sizeof variable - 1; at++, k++)
            variable[at] = (char)toupper((unsigned char)dev_table[i].key[k]);
        (void)unsetenv(variable);
    }
    int status = conf_load(dev_table, DEV_TABLE_SIZE, &values, 3, argv, &command, why);
    if (status == 0 && uuid_parse(values.uuid, &c.uuid) != 0)
        status = err_set(ERR_CONFIG, why, "%.180s: uuid is malformed", path);
    if (status == 0) {
        c.copies = (unsigned)values.copies;
        c.meta_count = (unsigned)values.meta;
        c.chunk_count = (unsigned)values.chunk;
        c.target_count = (unsigned)values.targets;
        c.meta_port = (unsigned)values.meta_port;
        c.chunk_port = (unsigned)values.chunk_port;
        (void)snprintf(c.mount, sizeof c.mount, "%s", values.mount);
        number_daemons(&c);
        if (!parse_seats(c.metas, c.meta_count, values.metas) ||
            !parse_seats(c.chunks, c.chunk_count, values.chunks))
            status = err_set(ERR_CONFIG, why, "%.180s: metas or chunks is malformed", path);
        if (values.meta_last > c.meta_last)
            c.meta_last = (unsigned)values.meta_last;
        if (values.chunk_last > c.chunk_last)
            c.chunk_last = (unsigned)values.chunk_last;
    }
    if (status == 0)
        *ret_cluster = c;
    conf_release(dev_table, DEV_TABLE_SIZE, &values);
    return status;
}

int dev_cluster_set_mount(struct dev_cluster *c, const char *mount, struct err_text *why)
{
    if (!realpath(mount, c->mount)) {
        int problem = errno;
        c->mount[0] = '\0';
        return err_set(ERR_NO_ENTRY, why, "mount point %.180s: %s", mount, strerror(problem));
    }
    return save(c, why);
}

/* ---- making one ---- */

static bool port_is_free(unsigned port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0)
        return false;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool is_free = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    (void)close(fd);
    return is_free;
}

/* The first of `count` free ports in a row, trying `first` and then every 200th behind it. */
static unsigned free_ports(unsigned first, unsigned count)
{
    for (unsigned base = first; base + count < 32000; base += 200) {
        unsigned good = 0;
        while (good < count && port_is_free(base + good))
            good++;
        if (good == count)
            return base;
    }
    return 0;
}

/* The metaservers, each as prefix, number, '=' (both only when `numbered`) and address. */
static void list_metas(const struct dev_cluster *c, bool numbered, const char *separator,
                       char ret_text[DEV_META_MAX * 32])
{
    ret_text[0] = '\0';
    for (unsigned i = 0, at = 0; i < c->meta_count; i++) {
        char number[16] = "";
        if (numbered)
            (void)snprintf(number, sizeof number, "%u=", c->metas[i].number);
        at += (unsigned)snprintf(ret_text + at, DEV_META_MAX * 32 - at, "%s%s127.0.0.1:%u",
                                 i ? separator : "", number, c->metas[i].port);
    }
}

static int write_metaserver(const struct dev_cluster *c, unsigned index, bool joins,
                            struct err_text *why)
{
    char folder[DEV_NAME_MAX], path[DEV_PATH_MAX + 64], text[2 * DEV_PATH_MAX + 1024];
    char peers[DEV_META_MAX * 32], uuid[UUID_TEXT_SIZE];
    unsigned number = c->metas[index].number;
    list_metas(c, true, ",", peers);
    uuid_format(&c->uuid, uuid);
    dev_daemon_name((struct dev_daemon){DEV_META, number}, folder);
    path_in(c, path, folder, "");
    int status = make_folder(path, why);
    (void)snprintf(text, sizeof text,
                   "; made by `cairn dev up`; see cairn-metaserver --help\n[node]\nid = %u\n"
                   "cluster = %s\ndata = %s/data\njoin = %s\n[net]\nlisten = 127.0.0.1:%u\n"
                   "peers = %s\n[cluster]\ncopies = %u\ninitial_targets = %u\ndown_out = 10s\n",
                   number, uuid, path, joins ? "yes" : "no", c->metas[index].port, peers, c->copies,
                   c->chunk_count * c->target_count);
    path_in(c, path, folder, "metaserver.conf");
    return status != 0 ? status : write_text(path, text, why);
}

/* One folder: `data = ...`. Several: a list of targets. */
static void list_targets(const struct dev_cluster *c, const char *path, char *ret_text, size_t size)
{
    if (c->target_count == 1) {
        (void)snprintf(ret_text, size, "data = %s/data\n", path);
        return;
    }
    size_t at = (size_t)snprintf(ret_text, size, "[targets]\n");
    for (unsigned i = 1; i <= c->target_count && at < size; i++)
        at += (size_t)snprintf(ret_text + at, size - at, "%u = %s/data%u\n", i, path, i);
}

static int write_chunkserver(const struct dev_cluster *c, unsigned index, struct err_text *why)
{
    enum { LIST_SIZE = DEV_TARGETS_MAX * (DEV_PATH_MAX + 64) };
    unsigned number = c->chunks[index].number;
    char folder[DEV_NAME_MAX], path[DEV_PATH_MAX + 64], metas[DEV_META_MAX * 32];
    char uuid[UUID_TEXT_SIZE];
    char *targets = malloc(LIST_SIZE), *text = malloc(LIST_SIZE + 1024);
    list_metas(c, false, ",", metas);
    uuid_format(&c->uuid, uuid);
    dev_daemon_name((struct dev_daemon){DEV_CHUNK, number}, folder);
    path_in(c, path, folder, "");
    int status = targets && text ? make_folder(path, why) : -ERR_NO_MEMORY;
    if (status == 0) {
        list_targets(c, path, targets, LIST_SIZE);
        (void)snprintf(
            text, LIST_SIZE + 1024,
            "; made by `cairn dev up`; see cairn-chunkserver --help\n[node]\nname = c%u\n"
            "cluster = %s\n; every dev chunkserver counts as a host of its own\nhost = c%u\n"
            "%s[net]\nlisten = 127.0.0.1:%u\nmetaservers = %s\n"
            "[store]\nreserve_per_mille = 10\n",
            number, uuid, number, targets, c->chunks[index].port, metas);
        path_in(c, path, folder, "chunkserver.conf");
        status = write_text(path, text, why);
    }
    free(targets);
    free(text);
    return status;
}

static int write_addresses(const struct dev_cluster *c, struct err_text *why)
{
    char path[DEV_PATH_MAX + 64], metas[DEV_META_MAX * 32], text[DEV_META_MAX * 32 + 2];
    list_metas(c, false, "\n", metas);
    (void)snprintf(text, sizeof text, "%s\n", metas);
    path_in(c, path, "metaservers", "");
    return write_text(path, text, why);
}

int dev_cluster_make(const char *folder, const struct dev_cluster *wanted,
                     struct dev_cluster *ret_cluster, struct err_text *why)
{
    struct dev_cluster c = *wanted;
    char path[DEV_PATH_MAX + 64];
    if (c.target_count == 0)
        c.target_count = 1;
    if (c.copies > c.chunk_count)
        return err_set(ERR_CONFIG, why, "%u copies need at least %u chunkservers, not %u", c.copies,
                       c.copies, c.chunk_count);
    int status = make_folder(folder, why);
    if (status != 0)
        return status;
    if (!realpath(folder, c.folder))
        return err_set(ERR_IO, why, "%.180s: %s", folder, strerror(errno));
    c.uuid = uuid_make();
    c.meta_port = free_ports(7001, c.meta_count);
    c.chunk_port = free_ports(7101, c.chunk_count * c.target_count);
    if (c.meta_port == 0 || c.chunk_port == 0)
        return err_set(ERR_ADDRESS_IN_USE, why,
                       "no free ports between 7001 and 32000 on 127.0.0.1");
    number_daemons(&c);
    for (unsigned i = 0; status == 0 && i < c.meta_count; i++)
        status = write_metaserver(&c, i, false, why);
    for (unsigned i = 0; status == 0 && i < c.chunk_count; i++)
        status = write_chunkserver(&c, i, why);
    path_in(&c, path, "mount", "");
    if (status == 0)
        status = make_folder(path, why);
    if (status == 0)
        status = write_addresses(&c, why);
    if (status == 0)
        status = save(&c, why); /* last: a folder with cluster.ini is whole */
    if (status == 0)
        *ret_cluster = c;
    return status;
}

/* ---- a metaserver more or less ---- */

/* Replaces the line `key = ...` of a configuration; whatever a person changed besides stays. */
static int replace_value(const struct dev_cluster *c, const char *folder, const char *file,
                         const char *key, const char *value, struct err_text *why)
{
    char path[DEV_PATH_MAX + 64], text[16384], changed[sizeof text + DEV_META_MAX * 32];
    path_in(c, path, folder, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        (void)close(fd);
    if (size < 0)
        return err_set(ERR_IO, why, "cannot read %.180s: %s", path, strerror(errno));
    text[size] = '\0';
    size_t at = 0, length = strlen(key);
    for (char *line = text, *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        next += *next == '\n';
        bool is_it =
            strncmp(line, key, length) == 0 && (line[length] == ' ' || line[length] == '=');
        if (is_it)
            at += (size_t)snprintf(changed + at, sizeof changed - at, "%s = %s\n", key, value);
        else
            at += (size_t)snprintf(changed + at, sizeof changed - at, "%.*s", (int)(next - line),
                                   line);
        if (at >= sizeof changed)
            return err_set(ERR_LIMIT, why, "%.180s is too long", path);
    }
    changed[at] = '\0';
    return write_text(path, changed, why);
}

/* Everybody's list, for the next start; those that run learn it from the leader. */
static int write_lists(const struct dev_cluster *c, struct err_text *why)
{
    char peers[DEV_META_MAX * 32], metas[DEV_META_MAX * 32], name[DEV_NAME_MAX];
    list_metas(c, true, ",", peers);
    list_metas(c, false, ",", metas);
    int status = write_addresses(c, why);
    for (unsigned i = 0; status == 0 && i < c->meta_count; i++) {
        dev_daemon_name(dev_daemon_at(c, DEV_META, i), name);
        status = replace_value(c, name, "metaserver.conf", "peers", peers, why);
    }
    for (unsigned i = 0; status == 0 && i < c->chunk_count; i++) {
        dev_daemon_name(dev_daemon_at(c, DEV_CHUNK, i), name);
        status = replace_value(c, name, "chunkserver.conf", "metaservers", metas, why);
    }
    return status == 0 ? save(c, why) : status;
}

int dev_cluster_add_meta(struct dev_cluster *c, struct dev_daemon *ret_daemon, struct err_text *why)
{
    if (c->meta_count == DEV_META_MAX)
        return err_set(ERR_LIMIT, why, "there are %u metaservers; a cluster has at most %d",
                       c->meta_count, DEV_META_MAX);
    unsigned number = c->meta_last + 1;
    unsigned port = free_ports(c->meta_port + number - 1, 1);
    if (port == 0)
        return err_set(ERR_ADDRESS_IN_USE, why, "no free port on 127.0.0.1");
    c->metas[c->meta_count].number = number;
    c->metas[c->meta_count++].port = port;
    c->meta_last = number;
    int status = write_metaserver(c, c->meta_count - 1, true, why);
    if (status == 0)
        status = write_lists(c, why);
    if (status == 0)
        *ret_daemon = dev_daemon_at(c, DEV_META, c->meta_count - 1);
    return status;
}

int dev_cluster_remove_meta(struct dev_cluster *c, unsigned number, struct err_text *why)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < c->meta_count; i++)
        if (c->metas[i].number != number)
            c->metas[kept++] = c->metas[i];
    c->meta_count = kept;
    return write_lists(c, why);
}

/* ---- a chunkserver more or less ---- */

int dev_cluster_add_chunk(struct dev_cluster *c, struct dev_daemon *ret_daemon,
                          struct err_text *why)
{
    if (c->chunk_count == DEV_CHUNK_MAX)
        return err_set(ERR_LIMIT, why, "there are %u chunkservers; here are at most %d",
                       c->chunk_count, DEV_CHUNK_MAX);
    unsigned number = c->chunk_last + 1;
    unsigned port = free_ports(c->chunk_port + (number - 1) * c->target_count, c->target_count);
    if (port == 0)
        return err_set(ERR_ADDRESS_IN_USE, why, "no free port on 127.0.0.1");
    c->chunks[c->chunk_count++] = (struct dev_seat){number, port};
    c->chunk_last = number;
    int status = write_chunkserver(c, c->chunk_count - 1, why);
    if (status == 0)
        status = save(c, why);
    if (status == 0)
        *ret_daemon = dev_daemon_at(c, DEV_CHUNK, c->chunk_count - 1);
    return status;
}

int dev_cluster_remove_chunk(struct dev_cluster *c, unsigned number, struct err_text *why)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < c->chunk_count; i++)
        if (c->chunks[i].number != number)
            c->chunks[kept++] = c->chunks[i];
    c->chunk_count = kept;
    return save(c, why);
}
