# common/net: sees common/base, common/wire.
noinst_LIBRARIES += %D%/libnet.a
%C%_libnet_a_SOURCES = \
    %D%/conn.c %D%/conn.h %D%/conn_internal.h \
    %D%/conn_receive.c \
    %D%/leader_find.c %D%/leader_follow.c \
    %D%/loop.c %D%/loop.h %D%/loop_internal.h \
    %D%/loop_timer.c \
    %D%/resolve.c %D%/resolve.h \
    %D%/rpc_calls.c \
    %D%/rpc_client.c %D%/rpc_client.h %D%/rpc_client_internal.h \
    %D%/rpc_leader.c %D%/rpc_leader.h %D%/rpc_leader_internal.h \
    %D%/rpc_serve.c \
    %D%/rpc_server.c %D%/rpc_server.h %D%/rpc_server_internal.h \
    %D%/rpc_types.h \
    %D%/send_queue.c %D%/send_queue.h \
    %D%/sock.c %D%/sock.h \
    %D%/transport.c %D%/transport.h \
    %D%/work.c %D%/work.h
