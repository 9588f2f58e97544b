# Unit tests of fuse: a real mount in front of the fakes of the client's tests.
check_PROGRAMS += %D%/test-fuse
%C%_test_fuse_SOURCES = \
    %D%/main.c \
    %D%/test_fuse.h \
    %D%/test_mount.c \
    %D%/test_pure.c \
    tests/unit/common/client/fake_data.c tests/unit/common/client/fake_data.h \
    tests/unit/common/client/fake_meta.c tests/unit/common/client/fake_meta.h
%C%_test_fuse_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS)
%C%_test_fuse_LDADD = fuse/libfuseroom.a $(TEST_LIBS) $(CLIENT_LIBS) $(FUSE_LIBS)
