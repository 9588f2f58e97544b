# Unit tests of metaserver/fs.
check_PROGRAMS += %D%/test-metaserver-fs
%C%_test_metaserver_fs_SOURCES = %D%/fixture.c %D%/fixture.h %D%/test_check.c %D%/cluster.c %D%/cluster.h %D%/test_drains.c %D%/test_job.c %D%/test_load.c \
    %D%/test_operations.c %D%/test_space.c %D%/test_state.c
%C%_test_metaserver_fs_LDADD = $(TEST_LIBS) $(FS_LIBS)
