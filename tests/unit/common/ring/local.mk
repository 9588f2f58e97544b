# Unit tests of common/ring.
check_PROGRAMS += %D%/test-common-ring
%C%_test_common_ring_SOURCES = \
    %D%/main.c \
    %D%/shard_fixture.c %D%/shard_fixture.h \
    %D%/test_codec.c \
    %D%/test_form.c \
    %D%/test_move.c \
    %D%/test_oracle.c \
    %D%/test_placement.c \
    %D%/test_remove.c \
    %D%/test_ring.c \
    %D%/test_rules.c
%C%_test_common_ring_LDADD = $(TEST_LIBS) $(RING_LIBS)
