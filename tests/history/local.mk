# Histories of real clusters and their checkers. The library is pure, and
# sim-meta uses it, too; the driver talks to a cluster.
check_LIBRARIES += %D%/libhistory.a
%C%_libhistory_a_SOURCES = \
    %D%/history.c %D%/history.h \
    %D%/plan.c \
    %D%/rules.c \
    %D%/search.c \
    %D%/state.c
HISTORY_LIBS = %D%/libhistory.a $(JANSSON_LIBS)

check_PROGRAMS += %D%/history-run %D%/history-check
%C%_history_run_SOURCES = %D%/run.c
%C%_history_run_LDADD = $(HISTORY_LIBS) $(CLIENT_LIBS)
%C%_history_check_SOURCES = %D%/check.c
%C%_history_check_LDADD = $(HISTORY_LIBS) $(BASE_LIBS)
EXTRA_DIST += %D%/plants.sh
