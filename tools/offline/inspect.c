/* cairn-inspect: what the files of a metaserver hold, and whether it is sound. Reads only. */
#include "tools/offline/inspect.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "config.h"
#include "tools/json.h"
#include "tools/text.h"

#define OPTION_LINES                                                                          \
    {                                                                                         \
        "output", 'o', OPTION_VALUE, "table|json", "json: one object per line, with its kind" \
    }

static const struct command commands[] = {
    {.name = "log",
     .run = command_log,
     .usage = "DIR [--batches] [--entries] [-o json]",
     .summary =
         "a metadata log: every stamp and checksum, and the verdict; also while it is in use",
     .examples = "cairn-inspect log ~/cairn-dev/m1/data\n"
                 "cairn-inspect log --entries ~/cairn-dev/m1/data/log\n",
     .words_min = 1,
     .words_max = 1,
     .options = {{"batches", 'b', OPTION_SWITCH, NULL, "a line for each batch"},
                 {"entries", 'e', OPTION_SWITCH, NULL, "a line for each entry"},
                 OPTION_LINES}},
    {.name = "checkpoint",
     .run = command_checkpoint,
     .usage = "FILE-or-DIR [--check] [-o json]",
     .summary = "checkpoints: header, every block, rows per table; also while they are in use",
     .examples = "cairn-inspect checkpoint ~/cairn-dev/m1/data\n"
                 "cairn-inspect checkpoint --check checkpoint-4711-3.ckpt\n",
     .words_min = 1,
     .words_max = 1,
     .options = {{"check", 'c', OPTION_SWITCH, NULL, "all invariants too; takes it into memory"},
                 OPTION_LINES}},
    {.name = "db",
     .run = command_db,
     .usage = "DIR [-o json]",
     .summary = "a database: all invariants; only while its metaserver is stopped",
     .examples = "cairn-inspect db ~/cairn-dev/m1/data\n",
     .words_min = 1,
     .words_max = 1,
     .options = {OPTION_LINES}},
    {.name = NULL},
};

bool inspect_folder(const char *folder, const char *mark, const char *inner,
                    char ret_path[INSPECT_PATH_MAX])
{
    char path[INSPECT_PATH_MAX + 64];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/%s", folder, mark);
    (void)snprintf(ret_path, INSPECT_PATH_MAX, "%s", folder);
    if (stat(path, &st) == 0)
        return true;
    (void)snprintf(path, sizeof path, "%s/%s/%s", folder, inner, mark);
    (void)snprintf(ret_path, INSPECT_PATH_MAX, "%s/%s", folder, inner);
    if (stat(path, &st) == 0)
        return true;
    (void)complain_text(EXIT_USAGE,
                        "%s: neither %s nor %s/%s is in it\n"
                        "  try: the data folder of a metaserver, such as ~/cairn-dev/m1/data",
                        folder, mark, inner, mark);
    return false;
}

int inspect_owner(int folder_fd)
{
    struct stat st;
    char line[256], wanted[64];
    int owner = 0;
    FILE *locks = fopen("/proc/locks", "re");
    if (!locks || fstat(folder_fd, &st) != 0)
        owner = 0;
    else {
        (void)snprintf(wanted, sizeof wanted, " %02x:%02x:%llu ", major(st.st_dev),
                       minor(st.st_dev), (unsigned long long)st.st_ino);
        while (owner == 0 && fgets(line, sizeof line, locks)) {
            char kind[16];
            int pid;
            // NOLINTNEXTLINE(cert-err34-c) the kernel's own numbers
            if (strstr(line, wanted) && sscanf(line, "%*s %15s %*s %*s %d", kind, &pid) == 2 &&
                strcmp(kind, "FLOCK") == 0)
                owner = pid;
        }
    }
    if (locks)
        (void)fclose(locks);
    return owner;
}

int inspect_form(const struct arguments *a, bool *ret_json)
{
    struct err_text why = {""};
    return option_json(a, ret_json, &why) == 0 ? EXIT_GOOD
                                               : complain_text(EXIT_USAGE, "%s", why.text);
}

/* ---- the check of a state ---- */

static void print_finding(void *arg, const char *text)
{
    const bool *json = arg;
    if (*json)
        json_print_line(json_pack("{s:s s:s}", "kind", "finding", "text", text));
    else
        (void)printf("finding  %s\n", text);
}

static void print_counts(const struct fs_check_counts *c, bool json)
{
    char a[TEXT_SIZE], b[TEXT_SIZE], d[TEXT_SIZE], e[TEXT_SIZE];
    if (json) {
        json_t *line = json_pack("{s:s}", "kind", "check");
#define COUNT(field) json_object_set_new(line, #field, json_of_number(c->field))
        COUNT(index), COUNT(term), COUNT(directories), COUNT(files), COUNT(links), COUNT(others);
        COUNT(names), COUNT(chunks), COUNT(file_bytes), COUNT(garbage), COUNT(orphans);
        COUNT(sessions), COUNT(targets), COUNT(shards), COUNT(findings);
#undef COUNT
        json_print_line(line);
        return;
    }
    (void)printf("state    index %llu   term %llu\n", (unsigned long long)c->index,
                 (unsigned long long)c->term);
    (void)printf("tree     %s directories   %s files   %s links   %s others   %llu names\n",
                 text_count(c->directories, a), text_count(c->files, b), text_count(c->links, d),
                 text_count(c->others, e), (unsigned long long)c->names);
    (void)printf("data     %s in files   %s chunks   %llu deleted   %llu orphans\n",
                 text_bytes(c->file_bytes, a), text_count(c->chunks, b),
                 (unsigned long long)c->garbage, (unsigned long long)c->orphans);
    (void)printf("cluster  %llu sessions   %llu targets   %llu shards\n",
                 (unsigned long long)c->sessions, (unsigned long long)c->targets,
                 (unsigned long long)c->shards);
    (void)printf("verdict  %s", c->findings ? "FAULTY" : "clean");
    if (c->findings)
        (void)printf(": %u findings%s", c->findings, c->is_broken_off ? ", then stopped" : "");
    (void)putchar('\n');
}

int inspect_check(struct fs_view *view, bool json, unsigned *ret_findings)
{
    struct fs_check_options options = {.finding = print_finding, .arg = &json};
    struct fs_check_counts counts;
    int status = fs_check_view(view, &options, &counts);
    if (status == 0) {
        print_counts(&counts, json);
        *ret_findings = counts.findings;
    }
    return status;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        (void)printf("cairn-inspect %s\n", PACKAGE_VERSION);
        return EXIT_GOOD;
    }
    int code = command_run(commands, "cairn-inspect", argc, argv);
    return code > EXIT_USAGE ? EXIT_USAGE : code;
}
