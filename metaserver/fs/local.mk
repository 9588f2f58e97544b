# metaserver/fs: sees common/base, common/wire, common/ring; only kv_lmdb.c does input and output.
noinst_LIBRARIES += %D%/libfs.a
%C%_libfs_a_SOURCES = \
    %D%/chunk_map.c \
    %D%/config.c %D%/config.tbl \
    %D%/dentry.c \
    %D%/dump.c %D%/dump.h \
    %D%/fs.c %D%/fs.h \
    %D%/fs_check.c %D%/fs_check.h %D%/fs_check_private.h %D%/fs_check_rows.c %D%/fs_check_tree.c \
    %D%/inode.c \
    %D%/job.c %D%/job.h \
    %D%/kv.h %D%/kv_lmdb.c %D%/kv_mem.c \
    %D%/mode.h \
    %D%/op_chunk.c \
    %D%/op_cluster.c \
    %D%/op_create.c \
    %D%/op_job.c \
    %D%/op_link.c \
    %D%/op_load.c \
    %D%/op_remove.c \
    %D%/op_rename.c \
    %D%/op_setattr.c \
    %D%/op_target.c \
    %D%/ops.tbl \
    %D%/query.c \
    %D%/rows.c \
    %D%/session.c \
    %D%/snapshot.c \
    %D%/state.h
