# chunkserver: the daemon around store and chain. libchunkserver.a holds all but main.
noinst_LIBRARIES += %D%/libchunkserver.a
%C%_libchunkserver_a_SOURCES = \
    %D%/chain_driver.c \
    %D%/chunkserver.c %D%/chunkserver.h \
    %D%/daemon.c %D%/daemon.h \
    %D%/deletes.c \
    %D%/heartbeat.c \
    %D%/housekeeping.c \
    %D%/inventory.c \
    %D%/left.c \
    %D%/lease.c %D%/lease.h \
    %D%/options.c %D%/options.h \
    %D%/peers.c \
    %D%/private.h \
    %D%/repair.c \
    %D%/server.c \
    %D%/store_actions.c \
    %D%/table.c \
    %D%/views.c %D%/views.h

CHUNKSERVER_LIBS = %D%/libchunkserver.a chunkserver/chain/libchain.a \
    chunkserver/store/libstore.a common/net/libnet.a $(RING_LIBS) $(EVENT_LIBS) $(LMDB_LIBS)

sbin_PROGRAMS += %D%/cairn-chunkserver
%C%_cairn_chunkserver_SOURCES = %D%/main.c
%C%_cairn_chunkserver_LDADD = $(CHUNKSERVER_LIBS)
