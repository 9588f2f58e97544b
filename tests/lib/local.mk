# Helpers shared by all tests.
check_LIBRARIES = tests/lib/libtest.a
tests_lib_libtest_a_SOURCES = tests/lib/tap.c tests/lib/tap.h
