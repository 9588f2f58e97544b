# metaserver/cluster: the planners, pure; sees base, wire, ring and metaserver/fs.
noinst_LIBRARIES += %D%/libcluster.a
%C%_libcluster_a_SOURCES = \
    %D%/balance.c %D%/balance.h \
    %D%/blocked.c \
    %D%/capacity.c \
    %D%/cluster_ring.c %D%/cluster_ring.h \
    %D%/drain_plan.c %D%/drain_plan.h \
    %D%/pace.c \
    %D%/plan.c %D%/plan.h \
    %D%/plan_private.h \
    %D%/replace.c \
    %D%/summary.c %D%/summary.h
