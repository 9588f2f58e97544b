/* cairn meta recover --force-new-cluster: the majority is lost for good. Looks, warns, asks, and
 * has the daemon's own program do it. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"
#include "tools/commands.h"
#include "tools/dev_cluster.h"
#include "tools/member.h"
#include "tools/recover.h"
#include "tools/text.h"

#include "common/base/banned.h"

/* Which folder, and whose. */
struct recovery {
    char config[DEV_PATH_MAX + 64];
    bool is_dev;
    struct dev_cluster dev;
    struct dev_daemon daemon;
    struct recover_survey found;
};

/* ---- the daemon's program ---- */

enum { SAID_MAX = 32 << 10 };

struct said {
    int status; /* of waitpid; -1 = it could not be run */
    char out[SAID_MAX], err[SAID_MAX];
};

static __attribute__((noreturn)) void become(const char *config, bool is_confirmed, int out,
                                             int err)
{
    char program[DEV_PATH_MAX + 64];
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dev_program_path(DEV_META, program);
    dev_forget_environment();
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(err, STDERR_FILENO);
    (void)execlp(program, "cairn-metaserver", "--config", config, "--force-new-cluster", "yes",
                 "--yes-i-may-lose-data", is_confirmed ? "yes" : "no", (char *)NULL);
    dprintf(STDERR_FILENO, "cairn-metaserver: cannot run %s: %s\n", program, strerror(errno));
    _exit(127);
}

static void read_back(int fd, char ret_text[SAID_MAX])
{
    ssize_t size = pread(fd, ret_text, SAID_MAX - 1, 0);
    ret_text[size > 0 ? size : 0] = '\0';
}

static void run_daemon(const char *config, bool is_confirmed, struct said *ret_said)
{
    int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
    CHECK(out >= 0 && err >= 0);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        become(config, is_confirmed, out, err);
    ret_said->status = -1;
    while (pid > 0 && waitpid(pid, &ret_said->status, 0) < 0 && errno == EINTR)
        ;
    read_back(out, ret_said->out);
    read_back(err, ret_said->err);
    (void)close(out);
    (void)close(err);
}

/* What it says to a person, without the lines of its log. */
static const char *reason_of(struct said *said)
{
    static const char mark[] = "cairn-metaserver: ";
    char *at = said->err, *found = NULL;
    for (; at; at = strchr(at, '\n'), at += at != NULL)
        if (strncmp(at, mark, sizeof mark - 1) == 0)
            found = at + sizeof mark - 1;
    if (!found)
        return "it ended without a word; is cairn-metaserver of this version installed?";
    found[strcspn(found, "\n")] = '\0';
    return found;
}

static int look(struct recovery *r)
{
    static struct said said;
    run_daemon(r->config, false, &said);
    if (recover_survey_parse(said.out, &r->found))
        return EXIT_GOOD;
    bool is_usage = WIFEXITED(said.status) && WEXITSTATUS(said.status) == EXIT_USAGE;
    return complain_text(is_usage ? EXIT_USAGE : EXIT_REFUSED, "nothing was changed: %s",
                         reason_of(&said));
}

/* ---- what there is ---- */

static const char *name_of(const struct recovery *r, char ret_name[DEV_NAME_MAX])
{
    dev_daemon_name((struct dev_daemon){DEV_META, r->found.node}, ret_name);
    return ret_name;
}

static void print_found(const struct recovery *r)
{
    const struct recover_survey *s = &r->found;
    char name[DEV_NAME_MAX], applied[TEXT_SIZE], last[TEXT_SIZE], age[TEXT_SIZE], date[64] = "";
    struct timespec now;
    struct tm broken;
    time_t seconds = (time_t)(s->time_ns / 1000000000);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    printf("%s of cluster %s, folder %s\n  holds entries up to %s of term %llu, applied up to %s\n",
           name_of(r, name), s->cluster, s->data, text_count(s->last_index, last),
           (unsigned long long)s->last_term, text_count(s->applied_index, applied));
    if (s->time_ns != 0 && gmtime_r(&seconds, &broken) &&
        strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S UTC", &broken) > 0)
        printf(
            "  its last change was made at %s, %s ago\n", date,
            text_duration(now.tv_sec > seconds ? (uint64_t)(now.tv_sec - seconds) * 1000 : 0, age));
    else
        printf("  the time of its last change is not in its log any more\n");
    if (!s->is_whole)
        printf("  it had LOST ITS PAST and was being refilled: any other folder is better\n");
}

/* Another one that lives holds more than a memory of it, and would be the second cluster. */
static int ask_others(const struct recovery *r)
{
    const struct recover_survey *s = &r->found;
    struct uuid cluster;
    char answering[256] = "";
    if (uuid_parse(s->cluster, &cluster) != 0)
        return complain_text(EXIT_ERROR, "the cluster's id '%s' is malformed", s->cluster);
    for (unsigned i = 0; i < s->member_count; i++) {
        const struct recover_member *one = &s->members[i];
        struct bytes bytes = {0};
        struct msg_meta_member_r said;
        struct err_text why = {""};
        char last[TEXT_SIZE];
        if (one->node == s->node)
            continue;
        int status = member_fetch(one->address, &bytes, &said, &why);
        bool is_ours = status == 0 && memcmp(&said.cluster, &cluster, sizeof cluster) == 0;
        if (is_ours)
            printf("  m%u at %s ANSWERS: it holds entries up to %s, is in term %llu\n", one->node,
                   one->address, text_count(said.last_index, last), (unsigned long long)said.term);
        else if (status == 0)
            printf("  m%u: another cluster is at %s\n", one->node, one->address);
        else
            printf("  m%u at %s does not answer (%s)\n", one->node, one->address, why.text);
        (void)fflush(stdout);
        bytes_release(&bytes);
        size_t at = strlen(answering);
        if (is_ours)
            snprintf(answering + at, sizeof answering - at, "%sm%u", at ? ", " : "", one->node);
    }
    return answering[0] == '\0'
               ? EXIT_GOOD
               : complain_text(
                     EXIT_REFUSED,
                     "nothing was changed: of this cluster there still answer: %s\n"
                     "  if more than half are up, nothing is lost: cairn meta ls\n"
                     "  if the others are gone for ever, keep the folder with the highest term, "
                     "then the highest entry, stop all, and run this again there",
                     answering);
}

/* Those of a dev cluster that hang do not answer either. */
static int refuse_running(const struct recovery *r)
{
    for (unsigned i = 0; r->is_dev && i < r->dev.meta_count; i++) {
        struct dev_daemon d = dev_daemon_at(&r->dev, DEV_META, i);
        char name[DEV_NAME_MAX];
        dev_daemon_name(d, name);
        pid_t pid = dev_daemon_pid(&r->dev, d);
        if (pid != 0)
            return complain_text(EXIT_REFUSED,
                                 "nothing was changed: %s runs (process %d)\n"
                                 "  when most are gone for ever: cairn dev kill --dir %s %s",
                                 name, (int)pid, r->dev.folder, name);
    }
    return EXIT_GOOD;
}

/* ---- asking ---- */

static void warn(const struct recovery *r)
{
    char name[DEV_NAME_MAX];
    name_of(r, name);
    (void)fflush(stdout);
    fprintf(
        stderr,
        "\nWARNING: this makes a cluster of %s alone out of this one folder.\n"
        "  - What only the others hold is LOST, silently: changes that were acknowledged,\n"
        "    files and names among them, may be missing; what was never acknowledged may be true.\n"
        "  - The others must NEVER start again with their old folders: that would be a second\n"
        "    cluster of the same name. Remove those folders, or make sure that nothing starts\n"
        "    them. Not answering is not dead: a cut network looks the same from here.\n"
        "  - There is no way back but a copy of the folder. Make one first.\n"
        "  While others can still come back, wait for them instead.\n\n",
        name);
}

static int confirm(const struct recovery *r, bool is_given)
{
    char typed[128] = "";
    if (is_given)
        return EXIT_GOOD;
    if (!isatty(STDIN_FILENO))
        return complain_text(EXIT_REFUSED,
                             "nothing was changed: no terminal to ask on\n"
                             "  if you are sure: the same command with --yes-i-may-lose-data");
    fprintf(stderr, "Type yes, or the first 8 characters of the cluster's id (%.8s), to go on: ",
            r->found.cluster);
    if (!fgets(typed, sizeof typed, stdin))
        typed[0] = '\0';
    typed[strcspn(typed, "\r\n")] = '\0';
    return recover_is_confirmed(&r->found, typed)
               ? EXIT_GOOD
               : complain_text(EXIT_REFUSED, "nothing was changed: not confirmed");
}

/* ---- doing it ---- */

/* So that `cairn dev up` and `start all` never bring the others back. */
static int forget_others(struct recovery *r)
{
    struct err_text why = {""};
    for (unsigned i = r->dev.meta_count; i-- > 0;) {
        unsigned number = r->dev.metas[i].number;
        int status =
            number == r->daemon.number ? 0 : dev_cluster_remove_meta(&r->dev, number, &why);
        if (status != 0)
            return complain_text(EXIT_ERROR,
                                 "it is done, but %s still lists m%u: %s\n  do not start it",
                                 r->dev.folder, number, why.text);
    }
    printf("%s lists m%u alone now. Next:\n  cairn dev start --dir %s m%u\n"
           "  cairn dev add-meta --dir %s\n",
           r->dev.folder, r->daemon.number, r->dev.folder, r->daemon.number, r->dev.folder);
    return EXIT_GOOD;
}

static int recover(struct recovery *r)
{
    static struct said said;
    char name[DEV_NAME_MAX];
    run_daemon(r->config, true, &said);
    if (!WIFEXITED(said.status) || WEXITSTATUS(said.status) != 0)
        return complain_text(EXIT_ERROR,
                             "%s was not recovered: %s\n  the same command may be run "
                             "again",
                             name_of(r, name), reason_of(&said));
    printf("%s", said.out);
    if (r->is_dev)
        return forget_others(r);
    printf("Also: `peers` of %s and `metaservers` of chunkservers and mounts should name it, and "
           "none of the others\n",
           name_of(r, name));
    return EXIT_GOOD;
}

/* ---- the command ---- */

static int find_dev(const struct arguments *a, const char *folder, struct recovery *r)
{
    struct err_text why = {""};
    int status = dev_cluster_load(folder, &r->dev, &why);
    if (status != 0)
        return complain_text((enum exit_code)exit_of(status), "%s", why.text);
    if (dev_daemon_parse(&r->dev, a->words[0], &r->daemon, &why) != 0 || r->daemon.kind != DEV_META)
        return complain_text(EXIT_NOT_FOUND, "no metaserver '%.40s' here\n  try: cairn dev status",
                             a->words[0]);
    dev_daemon_config(&r->dev, r->daemon, r->config);
    r->is_dev = true;
    return EXIT_GOOD;
}

static int find_folder(const struct arguments *a, struct recovery *r)
{
    const char *config = option_text(a, "config"), *folder = option_text(a, "dir");
    if (!option_given(a, "force-new-cluster"))
        return complain_text(EXIT_USAGE,
                             "say how: --force-new-cluster is the only way when a majority is "
                             "lost\n  one metaserver of a cluster that works is replaced with: "
                             "cairn meta remove, cairn meta add");
    if (!config && !folder)
        folder = getenv("CAIRN_DEV");
    if (!config == !folder || (folder && a->word_count != 1) || (config && a->word_count != 0))
        return complain_text(EXIT_USAGE,
                             "which metaserver?\n  try: --config /etc/cairn/metaserver.conf\n"
                             "  or, of a dev cluster: --dir FOLDER m3");
    if (folder)
        return find_dev(a, folder, r);
    if (access(config, R_OK) != 0)
        return complain_text(EXIT_NOT_FOUND, "%.180s: %s", config, strerror(errno));
    snprintf(r->config, sizeof r->config, "%s", config);
    return EXIT_GOOD;
}

int command_meta_recover(const struct arguments *a)
{
    static struct recovery r;
    bool is_given = option_given(a, "yes-i-may-lose-data");
    int code = find_folder(a, &r);
    if (code == EXIT_GOOD)
        code = refuse_running(&r);
    if (code == EXIT_GOOD)
        code = look(&r);
    if (code != EXIT_GOOD)
        return code;
    print_found(&r);
    code = ask_others(&r);
    if (code != EXIT_GOOD)
        return code;
    warn(&r);
    code = confirm(&r, is_given);
    return code == EXIT_GOOD ? recover(&r) : code;
}
