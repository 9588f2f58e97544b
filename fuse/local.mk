# fuse: the mount. A library of its own for the tests, and the program.
noinst_LIBRARIES += %D%/libfuseroom.a
%C%_libfuseroom_a_SOURCES = \
    %D%/bdi.c %D%/bdi.h \
    %D%/convert.c %D%/convert.h \
    %D%/directory.c %D%/directory.h \
    %D%/groups.c %D%/groups.h \
    %D%/mount.c %D%/mount.h \
    %D%/notify.c %D%/notify.h \
    %D%/ops.h %D%/ops_dir.c %D%/ops_file.c %D%/ops_meta.c %D%/ops_xattr.c \
    %D%/options.c %D%/options.h \
    %D%/raw.c %D%/raw.h \
    %D%/request.c %D%/request.h \
    %D%/unmount.c %D%/unmount.h
%C%_libfuseroom_a_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS)

sbin_PROGRAMS += %D%/cairn-mount
%C%_cairn_mount_SOURCES = %D%/main.c
%C%_cairn_mount_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS)
%C%_cairn_mount_LDADD = %D%/libfuseroom.a $(CLIENT_LIBS) $(FUSE_LIBS)
