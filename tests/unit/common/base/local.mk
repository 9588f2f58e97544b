# Unit tests of common/base.
check_PROGRAMS += %D%/test-common-base
%C%_test_common_base_SOURCES = %D%/test_base.c %D%/test_conf.c %D%/test_base.h
%C%_test_common_base_LDADD = $(TEST_LIBS) $(BASE_LIBS)
