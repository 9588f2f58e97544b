# tools/offline: reads the files of a metaserver, without one.
sbin_PROGRAMS += %D%/cairn-inspect
%C%_cairn_inspect_SOURCES = \
    %D%/inspect.c %D%/inspect.h \
    %D%/inspect_log.c \
    %D%/inspect_state.c \
    %D%/row_sink.c %D%/row_sink.h
%C%_cairn_inspect_LDADD = tools/libtools.a $(METASTORE_LIBS) metaserver/raft/libraft.a $(FS_LIBS) $(JANSSON_LIBS)
