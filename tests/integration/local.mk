# tests/integration
check_PROGRAMS += %D%/load-names
%C%_load_names_SOURCES = %D%/load_names.c
%C%_load_names_LDADD = $(CLIENT_LIBS)
