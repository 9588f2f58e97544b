/* cairn: the one command for people. The table of commands; what they do is in cmd_*.c. */
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "tools/commands.h"

#define DIRECTORY_OPTION                                                          \
    {                                                                             \
        "dir", 'd', OPTION_VALUE, "FOLDER", "the cluster's folder (or CAIRN_DEV)" \
    }

static const struct command dev_commands[] = {
    {.name = "up",
     .run = command_dev_up,
     .usage = "--dir FOLDER [--mount FOLDER] [--meta N] [--chunk N] [--replicas N]",
     .summary = "make and start a cluster, or start what is down of one",
     .examples = "cairn dev up --dir ~/cairn-dev --mount ~/cairn",
     .options = {DIRECTORY_OPTION,
                 {"mount", 'm', OPTION_VALUE, "FOLDER", "mount it there"},
                 {"meta", 0, OPTION_VALUE, "N", "metaservers: 1, 3, 5 or 7 (default 3)"},
                 {"chunk", 0, OPTION_VALUE, "N", "chunkservers (default 4)"},
                 {"replicas", 0, OPTION_VALUE, "N", "copies of every chunk (default 2)"}}},
    {.name = "down",
     .run = command_dev_down,
     .usage = "--dir FOLDER",
     .summary = "unmount and stop everything cleanly",
     .examples = "cairn dev down --dir ~/cairn-dev",
     .options = {DIRECTORY_OPTION}},
    {.name = "status",
     .run = command_dev_status,
     .usage = "--dir FOLDER",
     .summary = "the processes of the cluster",
     .examples = "cairn dev status --dir ~/cairn-dev",
     .options = {DIRECTORY_OPTION}},
    {.name = "kill",
     .run = command_dev_kill,
     .usage = "--dir FOLDER NAME...",
     .summary = "kill -9: leader, m2, c1, mount or all",
     .examples = "cairn dev kill --dir ~/cairn-dev leader",
     .words_min = 1,
     .words_max = 64,
     .options = {DIRECTORY_OPTION}},
    {.name = "start",
     .run = command_dev_start,
     .usage = "--dir FOLDER NAME...",
     .summary = "start daemons again: m2, c1, mount or all",
     .examples = "cairn dev start --dir ~/cairn-dev c1",
     .words_min = 1,
     .words_max = 64,
     .options = {DIRECTORY_OPTION}},
    {.name = NULL},
};

static const struct command server_commands[] = {
    {.name = "ls",
     .run = command_server_ls,
     .usage = "[--cluster X] [-o json]",
     .summary = "the chunkservers",
     .examples = "cairn server ls --cluster ~/cairn-dev",
     .options = {OPTION_CLUSTER,
                 OPTION_OUTPUT,
                 {"watch", 'w', OPTION_MAYBE, "SECONDS", "again and again"}}},
    {.name = NULL},
};

static const struct command commands[] = {
    {.name = "dev", .summary = "a whole cluster on this machine", .subcommands = dev_commands},
    {.name = "status",
     .run = command_status,
     .usage = "[--cluster X] [-o json] [-w [SECONDS]]",
     .summary = "leader, servers, copies, repair, and what to do",
     .examples = "cairn status --cluster ~/cairn-dev",
     .options = {OPTION_CLUSTER,
                 OPTION_OUTPUT,
                 {"watch", 'w', OPTION_MAYBE, "SECONDS", "again and again"}}},
    {.name = "health",
     .run = command_health,
     .usage = "[--cluster X]",
     .summary = "exit 0 OK, 1 WARN, 2 ERR",
     .examples = "cairn health --cluster ~/cairn-dev || mail -s cairn root",
     .options = {OPTION_CLUSTER, OPTION_OUTPUT}},
    {.name = "server", .summary = "chunkservers", .subcommands = server_commands},
    {.name = "mount",
     .run = command_mount,
     .usage = "CLUSTER FOLDER [-o OPTIONS]",
     .summary = "mount a cluster",
     .examples = "cairn mount ~/cairn-dev /mnt/cairn\ncairn mount 127.0.0.1:7001,127.0.0.1:7002 "
                 "/mnt/cairn -o timeout=30s",
     .words_min = 2,
     .words_max = 2,
     .options = {{"options", 'o', OPTION_VALUE, "OPTIONS", "see cairn-mount --help"}}},
    {.name = "umount",
     .run = command_umount,
     .usage = "[--force] FOLDER",
     .summary = "unmount",
     .examples = "cairn umount /mnt/cairn",
     .words_min = 1,
     .words_max = 1,
     .options = {{"force", 'f', OPTION_SWITCH, NULL,
                  "also when files are open or the mount is dead"}}},
    {.name = "ls",
     .run = command_ls,
     .usage = "[-l] [-R] PATH...",
     .summary = "list names, past the mount",
     .examples = "cairn ls --cluster ~/cairn-dev -l cairn:/proj\ncairn ls /mnt/cairn/proj",
     .words_min = 1,
     .words_max = 64,
     .options = {OPTION_CLUSTER,
                 {"long", 'l', OPTION_SWITCH, NULL, "with mode, owner, size, time"},
                 {"recursive", 'R', OPTION_SWITCH, NULL, "folders too"}}},
    {.name = "stat",
     .run = command_stat,
     .usage = "PATH...",
     .summary = "attributes",
     .examples = "cairn stat /mnt/cairn/a",
     .words_min = 1,
     .words_max = 64,
     .options = {OPTION_CLUSTER, OPTION_OUTPUT}},
    {.name = "cat",
     .run = command_cat,
     .usage = "PATH...",
     .summary = "contents to standard output",
     .examples = "cairn cat cairn:/a --cluster ~/cairn-dev",
     .words_min = 1,
     .words_max = 64,
     .options = {OPTION_CLUSTER}},
    {.name = "mkdir",
     .run = command_mkdir,
     .usage = "[-p] PATH...",
     .summary = "make folders",
     .examples = "cairn mkdir -p cairn:/a/b",
     .words_min = 1,
     .words_max = 64,
     .options = {OPTION_CLUSTER,
                 {"parents", 'p', OPTION_SWITCH, NULL, "and those above; fine when they exist"}}},
    {.name = "rm",
     .run = command_rm,
     .usage = "[-r] [-f] PATH...",
     .summary = "remove files and folders",
     .examples = "cairn rm -r cairn:/old",
     .words_min = 1,
     .words_max = 64,
     .options = {OPTION_CLUSTER,
                 {"recursive", 'r', OPTION_SWITCH, NULL, "folders with what is in them"},
                 {"force", 'f', OPTION_SWITCH, NULL, "what is not there is no error"}}},
    {.name = "mv",
     .run = command_mv,
     .usage = "FROM TO",
     .summary = "rename",
     .examples = "cairn mv cairn:/a cairn:/b",
     .words_min = 2,
     .words_max = 2,
     .options = {OPTION_CLUSTER}},
    {.name = "cp",
     .run = command_cp,
     .usage = "[-r] [-j N] [--verify] FROM... TO",
     .summary = "copy in or out in bulk, past the mount; every file is fsynced",
     .examples =
         "cairn cp -r ./data cairn:/proj/ --cluster ~/cairn-dev\ncairn cp /mnt/cairn/big ./big",
     .words_min = 2,
     .words_max = 4096,
     .options = {OPTION_CLUSTER,
                 {"recursive", 'r', OPTION_SWITCH, NULL, "folders with what is in them"},
                 {"jobs", 'j', OPTION_VALUE, "N", "files at a time (default 8)"},
                 {"verify", 'v', OPTION_SWITCH, NULL, "read back and compare"}}},
    {.name = NULL},
};

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        (void)printf("cairn %s\n", PACKAGE_VERSION);
        return EXIT_GOOD;
    }
    if (argc > 1 && strcmp(argv[1], "help") == 0) {
        char help[] = "--help";
        char *words[] = {argv[0], help, NULL};
        return command_run(commands, "cairn", 2, words);
    }
    return command_run(commands, "cairn", argc, argv);
}
