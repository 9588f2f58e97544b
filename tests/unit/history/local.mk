# Unit tests of the checkers of histories.
check_PROGRAMS += %D%/test-history
%C%_test_history_SOURCES = %D%/test_history.c
%C%_test_history_LDADD = $(TEST_LIBS) $(HISTORY_LIBS) $(BASE_LIBS)
