# tests/integration
check_PROGRAMS += %D%/load-names
%C%_load_names_SOURCES = %D%/load_names.c
%C%_load_names_LDADD = $(CLIENT_LIBS)

# The metaserver under I/O errors (t0019): a library to preload, and a client that checks what it is told.
check_PROGRAMS += %D%/fail_at.so %D%/names-check
%C%_fail_at_so_SOURCES = %D%/fail_at.c %D%/fail_at.h
%C%_fail_at_so_CFLAGS = $(CAIRN_CFLAGS) -fPIC
%C%_fail_at_so_LDFLAGS = -shared
%C%_fail_at_so_LDADD = -ldl
%C%_names_check_SOURCES = %D%/names_check.c
%C%_names_check_LDADD = $(CLIENT_LIBS)
