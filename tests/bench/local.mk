# tests/bench
EXTRA_PROGRAMS += %D%/net-bench
%C%_net_bench_SOURCES = %D%/net_bench.c
%C%_net_bench_LDADD = $(NET_LIBS)
EXTRA_PROGRAMS += %D%/fs-bench
%C%_fs_bench_SOURCES = %D%/fs_bench.c
%C%_fs_bench_LDADD = $(FS_LIBS)
# tests/bench: made by name only, e.g. `make tests/bench/log-bench`.
EXTRA_PROGRAMS += %D%/log-bench
%C%_log_bench_SOURCES = %D%/log_bench.c
%C%_log_bench_LDADD = $(METASTORE_LIBS)

# The metadata service at many files: loader and clients of tests/bench/meta.sh.
EXTRA_PROGRAMS += %D%/meta-load %D%/meta-client
%C%_meta_load_SOURCES = %D%/meta_load.c %D%/meta_names.h
%C%_meta_load_LDADD = metaserver/libmetastore.a $(FS_LIBS)
%C%_meta_client_SOURCES = %D%/meta_client.c %D%/meta_names.h
%C%_meta_client_LDADD = $(NET_LIBS)
bench-meta: all %D%/meta-load %D%/meta-client
	$(top_srcdir)/tests/bench/meta.sh $(abs_builddir)
.PHONY: bench-meta

# Side by side with other file systems on this machine; prints, never fails on a time.
bench: all
	$(top_srcdir)/tests/bench/compare.sh $(abs_builddir)
.PHONY: bench
EXTRA_DIST += %D%/meta.sh %D%/compare.sh %D%/mount-bench.sh %D%/peers.sh %D%/mdbench.c
