# Histories of real clusters and their checkers. The library is pure.
check_LIBRARIES += %D%/libhistory.a
%C%_libhistory_a_SOURCES = \
    %D%/history.c %D%/history.h \
    %D%/rules.c \
    %D%/search.c \
    %D%/state.c
HISTORY_LIBS = %D%/libhistory.a $(JANSSON_LIBS)

check_PROGRAMS += %D%/history-check
%C%_history_check_SOURCES = %D%/check.c
%C%_history_check_LDADD = $(HISTORY_LIBS) $(BASE_LIBS)
