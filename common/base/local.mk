# common/base: sees nothing but libraries.
noinst_LIBRARIES += %D%/libbase.a
%C%_libbase_a_SOURCES = \
    %D%/arena.c %D%/arena.h \
    %D%/banned.h \
    %D%/buf.c %D%/buf.h \
    %D%/bytes.c %D%/bytes.h \
    %D%/check.c %D%/check.h \
    %D%/chunk.c %D%/chunk.h \
    %D%/checksum.c %D%/checksum.h \
    %D%/conf.c %D%/conf.h \
    %D%/err.c %D%/err.h %D%/err.tbl \
    %D%/list.h \
    %D%/lmdb_lock.c %D%/lmdb_lock.h \
    %D%/log.c %D%/log.h \
    %D%/map.c %D%/map.h \
    %D%/metrics.h \
    %D%/prng.c %D%/prng.h \
    %D%/slice.h
