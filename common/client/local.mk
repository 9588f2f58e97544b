# common/client: the client core.
noinst_LIBRARIES += %D%/libclient.a
%C%_libclient_a_SOURCES = \
    %D%/attr_cache.c %D%/attr_cache.h \
    %D%/blocking.c %D%/blocking.h %D%/blocking_private.h \
    %D%/blocking_file.c \
    %D%/blocking_meta.c \
    %D%/chunk_map.c %D%/chunk_map.h \
    %D%/client.c %D%/client.h %D%/client_private.h \
    %D%/cluster.c \
    %D%/file.c \
    %D%/meta_call.c %D%/meta_call.h \
    %D%/meta_op.h %D%/meta_ops.c \
    %D%/meta_open.c \
    %D%/meta_read.c \
    %D%/meta_setattr.c \
    %D%/op.c %D%/op.h \
    %D%/session.c \
    %D%/table.c %D%/table.h

# The data path.
%C%_libclient_a_SOURCES += \
    %D%/chunk_crc.c \
    %D%/chunk_io.c %D%/chunk_io.h \
    %D%/chunk_peer.c \
    %D%/copies.c \
    %D%/file_data.c %D%/file_data.h \
    %D%/file_flush.c \
    %D%/file_read.c \
    %D%/file_resize.c \
    %D%/places.c \
    %D%/read_ahead.c \
    %D%/unsynced.c \
    %D%/write_buf.c \
    %D%/write_send.c
