# metaserver/raft: the consensus core, pure.
noinst_LIBRARIES += %D%/libraft.a
%C%_libraft_a_SOURCES = \
    %D%/config.c \
    %D%/election.c \
    %D%/log.c \
    %D%/membership.c \
    %D%/progress.c \
    %D%/quorum.c \
    %D%/raft.c %D%/raft.h \
    %D%/raft_check.c \
    %D%/raft_state.h \
    %D%/read_index.c \
    %D%/recv.c \
    %D%/recv_append.c \
    %D%/recv_snapshot.c \
    %D%/recv_vote.c \
    %D%/replicate.c \
    %D%/role.c \
    %D%/start.c \
    %D%/status.c
