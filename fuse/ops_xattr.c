/* Extended attributes: two virtual ones.
 *   user.cairn.cluster   by which `cairn` finds the cluster of a path; read only
 *   user.cairn.replicas  the number of copies; to set it on a file with data copies the data
 * Neither is listed: `cp -a` would try to copy them. */
#include "fuse/ops.h"

#include <string.h>
#include <sys/xattr.h>

#include "common/base/banned.h"

static const char cluster_name[] = "user.cairn.cluster", replicas_name[] = "user.cairn.replicas";

static void reply_value(fuse_req_t req, const char *value, size_t length, size_t size)
{
    if (size == 0)
        fuse_reply_xattr(req, length);
    else if (size < length)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, value, length);
}

static void on_replicas(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    size_t size = ((struct request *)arg)->size;
    fuse_req_t req = request_end(arg);
    (void)valid_ms;
    if (!req)
        return;
    if (status != 0) {
        fuse_reply_err(req, err_errno(status));
        return;
    }
    char digit = (char)('0' + attr->copies);
    reply_value(req, &digit, 1, size);
}

void ops_getxattr(fuse_req_t req, fuse_ino_t inode, const char *name, size_t size)
{
    struct mount *m = request_mount(req);
    if (strcmp(name, cluster_name) == 0) {
        const char *cluster = client_cluster_text(m->client);
        reply_value(req, cluster, strlen(cluster), size);
    } else if (strcmp(name, replicas_name) == 0) {
        struct client_caller who = request_caller(req);
        struct request *r = request_new(req);
        r->size = size;
        client_getattr(m->client, &who, inode, on_replicas, r);
    } else {
        fuse_reply_err(req, ENODATA);
    }
}

static void on_set(void *arg, int status, const struct wire_attr *attr, const char *detail)
{
    (void)attr, (void)detail;
    request_end_status(arg, status);
}

static void set_replicas(fuse_req_t req, fuse_ino_t inode, uint8_t copies)
{
    struct client_caller who = request_caller(req);
    client_set_copies(request_mount(req)->client, &who, inode, copies, on_set, request_new(req));
}

void ops_setxattr(fuse_req_t req, fuse_ino_t inode, const char *name, const char *value,
                  size_t size, int flags)
{
    if (strcmp(name, replicas_name) != 0)
        fuse_reply_err(req, EOPNOTSUPP);
    else if (flags & XATTR_CREATE)
        fuse_reply_err(req, EEXIST);
    else if (size != 1 || value[0] < '1' || value[0] > '0' + COPIES_MAX)
        fuse_reply_err(req, EINVAL);
    else
        set_replicas(req, inode, (uint8_t)(value[0] - '0'));
}

/* Back to the number of the cluster. */
void ops_removexattr(fuse_req_t req, fuse_ino_t inode, const char *name)
{
    if (strcmp(name, replicas_name) != 0)
        fuse_reply_err(req, EOPNOTSUPP);
    else
        set_replicas(req, inode, client_copies(request_mount(req)->client));
}

void ops_listxattr(fuse_req_t req, fuse_ino_t inode, size_t size)
{
    (void)inode;
    reply_value(req, NULL, 0, size);
}
