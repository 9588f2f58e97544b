# common/wire: sees common/base.
noinst_LIBRARIES += %D%/libwire.a
%C%_libwire_a_SOURCES = \
    %D%/codec.c %D%/codec.h %D%/messages.tbl \
    %D%/frame.c %D%/frame.h \
    %D%/prim.c %D%/prim.h \
    %D%/types.h
