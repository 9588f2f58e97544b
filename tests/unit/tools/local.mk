# Unit tests of tools: what can be judged without a cluster.
check_PROGRAMS += %D%/test-tools
%C%_test_tools_SOURCES = \
    %D%/main.c \
    %D%/test_command.c \
    %D%/test_dev_cluster.c \
    %D%/test_health.c \
    %D%/test_job_text.c \
    %D%/test_job_wait.c \
    %D%/test_progress.c \
    %D%/test_recover.c \
    %D%/test_text.c \
    %D%/test_tools.h
%C%_test_tools_LDADD = $(TEST_LIBS) $(TOOLS_LIBS)
