# common/ring: sees common/base, common/wire.
noinst_LIBRARIES += %D%/libring.a
%C%_libring_a_SOURCES = \
    %D%/placement.c %D%/placement.h \
    %D%/plan_choice.c \
    %D%/plan_claim.c \
    %D%/plan_private.h \
    %D%/replacement.c \
    %D%/ring.c %D%/ring.h %D%/ring_private.h \
    %D%/share.c \
    %D%/shard_change.c \
    %D%/shard_codec.c \
    %D%/shard_form.c \
    %D%/shard_move.c %D%/shard_private.h \
    %D%/shard_remove.c \
    %D%/shard_table.c %D%/shard_table.h \
    %D%/spread.c \
    %D%/weights.c
