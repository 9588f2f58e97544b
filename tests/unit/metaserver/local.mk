# Unit tests of metaserver.
check_PROGRAMS += %D%/test-metaserver-store
%C%_test_metaserver_store_SOURCES = \
    %D%/faults.c %D%/faults.h \
    %D%/store_fixture.c %D%/store_fixture.h \
    %D%/store_main.c \
    %D%/test_checkpoint.c \
    %D%/test_damage_large.c \
    %D%/test_log.c \
    %D%/test_log_damage.c \
    %D%/test_log_faults.c \
    %D%/test_log_random.c \
    %D%/test_log_space.c \
    %D%/test_standing.c \
    %D%/test_vote.c
%C%_test_metaserver_store_LDADD = $(TEST_LIBS) $(METASTORE_LIBS)

# Starts metaserver/cairn-metaserver of the build folder it is run in.
check_PROGRAMS += %D%/test-metaserver
%C%_test_metaserver_SOURCES = \
    %D%/daemon_fixture.c %D%/daemon_fixture.h \
    %D%/faults.c %D%/faults.h \
    %D%/daemon_main.c \
    %D%/test_daemon_clients.c \
    %D%/test_daemon_jobs.c \
    %D%/test_daemon_space.c \
    %D%/test_daemon_targets.c
%C%_test_metaserver_LDADD = $(TEST_LIBS) common/ring/libring.a $(NET_LIBS)

# Starts metaserver-with-faults: cairn-metaserver with calls of libc that fail on request.
check_PROGRAMS += %D%/test-metaserver-faults %D%/metaserver-with-faults
%C%_test_metaserver_faults_SOURCES = \
    %D%/daemon_fixture.c %D%/daemon_fixture.h \
    %D%/faults.c %D%/faults.h \
    %D%/test_daemon_faults.c \
    %D%/test_daemon_state.c
%C%_test_metaserver_faults_LDADD = $(TEST_LIBS) metaserver/libmetastore.a metaserver/raft/libraft.a \
    metaserver/fs/libfs.a common/ring/libring.a $(NET_LIBS) $(LMDB_LIBS)
%C%_metaserver_with_faults_SOURCES = $(metaserver_cairn_metaserver_SOURCES) \
    %D%/faults.c %D%/faults.h
%C%_metaserver_with_faults_LDADD = $(metaserver_cairn_metaserver_LDADD)

check_PROGRAMS += %D%/test-metaserver-jobs
%C%_test_metaserver_jobs_SOURCES = %D%/test_jobs.c tests/unit/metaserver/fs/fixture.c
%C%_test_metaserver_jobs_LDADD = $(TEST_LIBS) metaserver/libjobs.a $(FS_LIBS)

check_PROGRAMS += %D%/test-metaserver-queries
%C%_test_metaserver_queries_SOURCES = %D%/test_queries.c
%C%_test_metaserver_queries_LDADD = $(TEST_LIBS) metaserver/libqueries.a \
    metaserver/fs/libfs.a common/ring/libring.a $(NET_LIBS) $(LMDB_LIBS)
