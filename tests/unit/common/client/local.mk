# Unit tests of common/client: the real core between a fake metaserver and a fake data path.
check_PROGRAMS += %D%/test-common-client
%C%_test_common_client_SOURCES = \
    %D%/fake_data.c %D%/fake_data.h \
    %D%/fake_meta.c %D%/fake_meta.h \
    %D%/fixture.c %D%/fixture.h \
    %D%/test_client.h \
    %D%/test_meta.c \
    %D%/test_op.c \
    %D%/test_session.c
%C%_test_common_client_LDADD = $(TEST_LIBS) $(CLIENT_LIBS)

# The data path between a fake metaserver and fake chunkservers.
check_PROGRAMS += %D%/test-common-client-data
%C%_test_common_client_data_SOURCES = \
    %D%/data_fixture.c %D%/data_fixture.h \
    %D%/fake_cluster.c %D%/fake_cluster.h \
    %D%/fake_cluster_meta.c %D%/fake_cluster_private.h \
    %D%/test_copies.c \
    %D%/test_data.c \
    %D%/test_data_faults.c \
    %D%/test_data_model.c
%C%_test_common_client_data_LDADD = $(TEST_LIBS) $(CLIENT_LIBS)
