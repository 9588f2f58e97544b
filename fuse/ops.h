/* The handlers of kernel requests, by what they are about. Each turns one request into one call of
 * the client and its answer into the reply; all run on the loop. */
#ifndef CAIRN_FUSE_OPS_H
#define CAIRN_FUSE_OPS_H

#include "fuse/request.h"

/* ops_meta.c */
void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_forget(fuse_req_t req, fuse_ino_t inode, uint64_t count);
void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void ops_getattr(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi);
void ops_setattr(fuse_req_t req, fuse_ino_t inode, struct stat *st, int to_set,
                 struct fuse_file_info *fi);
void ops_readlink(fuse_req_t req, fuse_ino_t inode);
void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                const char *new_name, unsigned flags);
void ops_link(fuse_req_t req, fuse_ino_t inode, fuse_ino_t new_parent, const char *new_name);
void ops_statfs(fuse_req_t req, fuse_ino_t inode);

/* ops_xattr.c */
void ops_getxattr(fuse_req_t req, fuse_ino_t inode, const char *name, size_t size);
void ops_setxattr(fuse_req_t req, fuse_ino_t inode, const char *name, const char *value,
                  size_t size, int flags);
void ops_removexattr(fuse_req_t req, fuse_ino_t inode, const char *name);
void ops_listxattr(fuse_req_t req, fuse_ino_t inode, size_t size);

/* ops_dir.c */
void ops_opendir(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi);
void ops_readdir(fuse_req_t req, fuse_ino_t inode, size_t size, off_t offset,
                 struct fuse_file_info *fi);
void ops_readdirplus(fuse_req_t req, fuse_ino_t inode, size_t size, off_t offset,
                     struct fuse_file_info *fi);
void ops_releasedir(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi);
void ops_fsyncdir(fuse_req_t req, fuse_ino_t inode, int datasync, struct fuse_file_info *fi);

/* ops_file.c */
void ops_open(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi);
void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                struct fuse_file_info *fi);
void ops_read(fuse_req_t req, fuse_ino_t inode, size_t size, off_t offset,
              struct fuse_file_info *fi);
void ops_write(fuse_req_t req, fuse_ino_t inode, const char *data, size_t size, off_t offset,
               struct fuse_file_info *fi);
void ops_flush(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi);
void ops_release(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi);
void ops_fsync(fuse_req_t req, fuse_ino_t inode, int datasync, struct fuse_file_info *fi);
void ops_fallocate(fuse_req_t req, fuse_ino_t inode, int mode, off_t offset, off_t size,
                   struct fuse_file_info *fi);

/* Of a request that always names a handle. */
static inline struct open_file *open_file_of(const struct fuse_file_info *fi)
{
    return (struct open_file *)(uintptr_t)fi->fh;
}

#endif
