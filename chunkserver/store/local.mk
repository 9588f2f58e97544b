# chunkserver/store: one target, a disk folder of chunk files. Sees common/base and LMDB.
noinst_LIBRARIES += %D%/libstore.a
%C%_libstore_a_SOURCES = \
    %D%/store.c %D%/store.h \
    %D%/store_blocks.c %D%/store_blocks.h \
    %D%/store_cache.c \
    %D%/store_check.c \
    %D%/store_edit.c \
    %D%/store_file.c \
    %D%/store_header.c %D%/store_header.h \
    %D%/store_index.c \
    %D%/store_intent.c \
    %D%/store_io.c \
    %D%/store_label.c \
    %D%/store_load.c \
    %D%/store_private.h \
    %D%/store_read.c \
    %D%/store_recover.c \
    %D%/store_sizes.c \
    %D%/store_sync.c
