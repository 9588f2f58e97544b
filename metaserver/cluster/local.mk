# metaserver/cluster: the planners, pure; sees base, wire, ring and metaserver/fs.
noinst_LIBRARIES += %D%/libcluster.a
%C%_libcluster_a_SOURCES = \
    %D%/balance.c %D%/balance.h \
    %D%/capacity.c \
    %D%/plan.c %D%/plan.h \
    %D%/plan_private.h \
    %D%/replace.c \
    %D%/summary.c %D%/summary.h
