# Unit tests of metaserver/cluster.
check_PROGRAMS += %D%/test-metaserver-cluster
%C%_test_metaserver_cluster_SOURCES = \
    %D%/main.c \
    %D%/cluster_fixture.c %D%/cluster_fixture.h \
    %D%/balance_fixture.c %D%/balance_fixture.h \
    %D%/test_balance.c \
    %D%/test_capacity.c \
    %D%/test_plan.c \
    %D%/test_drain.c \
    %D%/test_drain_jobs.c \
    %D%/test_drain_plan.c \
    %D%/test_maintenance.c \
    %D%/test_life.c \
    tests/unit/common/ring/shard_fixture.c
%C%_test_metaserver_cluster_LDADD = $(TEST_LIBS) metaserver/cluster/libcluster.a $(RING_LIBS)
