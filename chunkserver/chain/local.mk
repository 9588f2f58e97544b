# chunkserver/chain: sees common/base, common/wire. Pure.
noinst_LIBRARIES += %D%/libchain.a
%C%_libchain_a_SOURCES = \
    %D%/accept.c \
    %D%/chain.c %D%/chain.h %D%/chain_internal.h \
    %D%/check.c \
    %D%/chunk.c \
    %D%/entry.c \
    %D%/op.c \
    %D%/order.c \
    %D%/pace.c \
    %D%/read.c \
    %D%/resync.c \
    %D%/resync_copy.c \
    %D%/resync_target.c \
    %D%/send.c \
    %D%/shard.c
