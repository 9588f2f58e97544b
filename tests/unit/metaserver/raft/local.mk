# Unit tests of metaserver/raft.
check_PROGRAMS += %D%/test-metaserver-raft
%C%_test_metaserver_raft_SOURCES = \
    %D%/fixture.c %D%/fixture.h \
    %D%/main.c \
    %D%/test_election.c \
    %D%/test_follower.c \
    %D%/test_leader.c \
    %D%/test_membership.c \
    %D%/test_snapshot.c
%C%_test_metaserver_raft_LDADD = $(TEST_LIBS) metaserver/raft/libraft.a $(BASE_LIBS)
