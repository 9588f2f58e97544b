# Unit tests of common/wire.
check_PROGRAMS += %D%/test-common-wire
%C%_test_common_wire_SOURCES = %D%/test_wire.c
%C%_test_common_wire_CPPFLAGS = $(AM_CPPFLAGS) -DGOLDEN=\"$(abs_top_srcdir)/tests/golden/messages.txt\"
%C%_test_common_wire_LDADD = $(TEST_LIBS) $(WIRE_LIBS)
