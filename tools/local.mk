# tools: the cairn command. A library of its own for the tests.
noinst_LIBRARIES += %D%/libtools.a
%C%_libtools_a_SOURCES = \
    %D%/admin.c %D%/admin.h \
    %D%/cmd_config.c \
    %D%/cmd_cp.c \
    %D%/cmd_drain.c \
    %D%/cmd_dump.c \
    %D%/cmd_dev.c %D%/cmd_dev_chunk.c %D%/cmd_dev_meta.c \
    %D%/cmd_file.c \
    %D%/cmd_fsck.c \
    %D%/cmd_job.c \
    %D%/cmd_meta.c %D%/cmd_meta_change.c %D%/meta_change.h \
    %D%/cmd_meta_recover.c \
    %D%/cmd_mount.c \
    %D%/cmd_server.c \
    %D%/cmd_replicas.c \
    %D%/cmd_status.c \
    %D%/command.c %D%/command.h %D%/commands.h \
    %D%/confirm.c %D%/confirm.h \
    %D%/connect.c %D%/connect.h \
    %D%/copy.c %D%/copy.h %D%/copy_file.c \
    %D%/dev_cluster.c %D%/dev_cluster.h %D%/dev_process.c \
    %D%/dump_json.c %D%/dump_json.h \
    %D%/health.c %D%/health.h \
    %D%/job_list.c %D%/job_text.c %D%/job_text.h %D%/plan_text.c \
    %D%/job_wait.c %D%/job_wait.h \
    %D%/json.c %D%/json.h \
    %D%/member.c %D%/member.h \
    %D%/place.c %D%/place.h \
    %D%/progress.c %D%/progress.h \
    %D%/recover.c %D%/recover.h \
    %D%/server_text.c %D%/server_text.h \
    %D%/targets.c %D%/targets.h \
    %D%/text.c %D%/text.h
TOOLS_LIBS = %D%/libtools.a $(CLIENT_LIBS) $(JANSSON_LIBS)

dist_man1_MANS = docs/man/cairn.1

bin_PROGRAMS += %D%/cairn
%C%_cairn_SOURCES = %D%/main.c
%C%_cairn_LDADD = $(TOOLS_LIBS)
