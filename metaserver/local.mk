# Sources of metaserver.
noinst_LIBRARIES += %D%/libmetastore.a
%C%_libmetastore_a_SOURCES = \
    %D%/checkpoint_format.c %D%/checkpoint_format.h \
    %D%/checkpoint_store.c %D%/checkpoint_store.h \
    %D%/checkpoint_private.h %D%/checkpoint_transfer.c \
    %D%/log_files.c %D%/log_files.h \
    %D%/log_format.c %D%/log_format.h \
    %D%/log_gather.c %D%/log_gather.h \
    %D%/log_open.c \
    %D%/log_recover.c %D%/log_recover.h \
    %D%/log_segments.c \
    %D%/log_store.c %D%/log_store.h %D%/log_store_private.h \
    %D%/log_vote.c %D%/log_vote.h \
    %D%/standing.c %D%/standing.h
METASTORE_LIBS = metaserver/libmetastore.a $(RAFT_LIBS)

noinst_LIBRARIES += %D%/libqueries.a
%C%_libqueries_a_SOURCES = %D%/queries.c %D%/queries.h

noinst_LIBRARIES += %D%/libjobs.a
%C%_libjobs_a_SOURCES = %D%/jobs_pace.c %D%/jobs_text.c

sbin_PROGRAMS += %D%/cairn-metaserver
%C%_cairn_metaserver_SOURCES = \
    %D%/apply.c \
    %D%/checkpoint.c \
    %D%/collect.c \
    %D%/database_fault.c \
    %D%/dump.c \
    %D%/fsck.c \
    %D%/founding.c \
    %D%/jobs.c %D%/jobs.h \
    %D%/main.c %D%/metaserver.h \
    %D%/member.c \
    %D%/propose.c \
    %D%/raft_apply.c \
    %D%/raft_driver.c %D%/raft_driver.h %D%/raft_driver_private.h \
    %D%/raft_fetch.c \
    %D%/raft_serve.c \
    %D%/raft_peers.c \
    %D%/raft_transport.c \
    %D%/raft_writer.c \
    %D%/recover.c \
    %D%/server.c \
    %D%/sessions.c \
    %D%/space.c \
    %D%/start.c \
    %D%/status.c \
    %D%/targets.c
%C%_cairn_metaserver_LDADD = %D%/libmetastore.a %D%/libqueries.a %D%/libjobs.a metaserver/cluster/libcluster.a \
    metaserver/raft/libraft.a metaserver/fs/libfs.a common/ring/libring.a $(NET_LIBS) $(LMDB_LIBS)
