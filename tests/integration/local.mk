# tests/integration
check_PROGRAMS += %D%/load-names
%C%_load_names_SOURCES = %D%/load_names.c
%C%_load_names_LDADD = $(CLIENT_LIBS)

# Of t0018: a metaserver dies at each of its calls to the disk.
check_PROGRAMS += %D%/kill-at.so %D%/names-client %D%/small-log
%C%_kill_at_so_SOURCES = %D%/kill_at.c
# Not with sanitizers, and with both names of a function of 64-bit offsets.
%C%_kill_at_so_CPPFLAGS = -I$(top_srcdir)
%C%_kill_at_so_CFLAGS = $(CAIRN_CFLAGS) -fPIC
%C%_kill_at_so_LDFLAGS = -shared
%C%_kill_at_so_LDADD = -ldl
%C%_names_client_SOURCES = %D%/names_client.c
%C%_names_client_LDADD = $(CLIENT_LIBS)
%C%_small_log_SOURCES = %D%/small_log.c
%C%_small_log_LDADD = $(METASTORE_LIBS)
# The metaserver under I/O errors (t0019): a library to preload, and a client that checks what it is told.
check_PROGRAMS += %D%/fail_at.so %D%/names-check
%C%_fail_at_so_SOURCES = %D%/fail_at.c %D%/fail_at.h
%C%_fail_at_so_CFLAGS = $(CAIRN_CFLAGS) -fPIC
%C%_fail_at_so_LDFLAGS = -shared
%C%_fail_at_so_LDADD = -ldl
%C%_names_check_SOURCES = %D%/names_check.c
%C%_names_check_LDADD = $(CLIENT_LIBS)
