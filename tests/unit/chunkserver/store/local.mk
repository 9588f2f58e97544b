# Unit tests of chunkserver/store.
check_PROGRAMS += %D%/test-chunkserver-store
%C%_test_chunkserver_store_SOURCES = \
    %D%/fixture.c %D%/fixture.h \
    %D%/main.c \
    %D%/suites.h \
    %D%/test_crash.c \
    %D%/test_disk.c \
    %D%/test_kill.c \
    %D%/test_left.c \
    %D%/test_strays.c \
    %D%/test_store.c \
    %D%/test_threads.c
%C%_test_chunkserver_store_LDADD = $(TEST_LIBS) $(STORE_LIBS)
