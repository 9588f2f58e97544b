# Unit tests of common/net.
check_PROGRAMS += %D%/test-common-net
%C%_test_common_net_SOURCES = \
    %D%/fixture.c %D%/fixture.h \
    %D%/main.c \
    %D%/test_hostile.c \
    %D%/test_leader.c \
    %D%/test_loop.c \
    %D%/test_rpc.c \
    %D%/test_rpc_limits.c \
    %D%/test_sock.c \
    %D%/test_work.c
%C%_test_common_net_LDADD = $(TEST_LIBS) $(NET_LIBS)
