# common/ring: sees common/base, common/wire.
noinst_LIBRARIES += %D%/libring.a
%C%_libring_a_SOURCES = \
    %D%/reassign.c \
    %D%/ring.c %D%/ring.h %D%/ring_private.h \
    %D%/shard_change.c \
    %D%/shard_codec.c \
    %D%/shard_move.c %D%/shard_private.h \
    %D%/shard_table.c %D%/shard_table.h
