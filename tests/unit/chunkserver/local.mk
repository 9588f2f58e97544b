# Unit tests of chunkserver.
check_PROGRAMS += %D%/test-chunkserver
%C%_test_chunkserver_SOURCES = \
    %D%/fixture.c %D%/fixture.h \
    %D%/hold.c %D%/hold.h \
    %D%/leader.c \
    %D%/main.c \
    %D%/suites.h \
    %D%/test_cluster.c \
    %D%/test_inventory.c \
    %D%/test_daemon.c \
    %D%/test_left.c \
    %D%/test_lease.c \
    %D%/test_life.c \
    %D%/test_load.c \
    %D%/test_options.c \
    %D%/test_views.c
%C%_test_chunkserver_LDADD = $(TEST_LIBS) $(CHUNKSERVER_LIBS)
