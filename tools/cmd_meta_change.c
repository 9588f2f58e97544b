/* cairn meta add, remove: one metaserver at a time, asked again until it is done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/net/loop.h"
#include "tools/commands.h"
#include "tools/connect.h"
#include "tools/member.h"
#include "tools/meta_change.h"
#include "tools/text.h"

enum {
    ADD_WAIT_S = 600, /* default; a checkpoint of ten million files takes some seconds */
    REMOVE_WAIT_S = 30,
    POLL_US = 100000,
    ASK_MS = 10000,
    SAY_MS = 2000,
};

static int ask_change(const struct member *leader, enum meta_change_kind kind, uint32_t node,
                      const char *address, struct err_text *why)
{
    struct bytes body = {0}, answer = {0};
    encode_meta_change(&body, &(struct msg_meta_change){.kind = (uint8_t)kind,
                                                        .node = node,
                                                        .address = slice_str(address)});
    int status = member_ask(leader->address, MSG_meta_change, bytes_slice(&body), ASK_MS,
                            MSG_done_r, &answer, why);
    bytes_release(&body);
    bytes_release(&answer);
    return status;
}

/* Asked again it does no harm, and in the end the list of members shows what happened. */
static bool may_ask_again(int status)
{
    return status == 0 || status == -ERR_BUSY || status == -ERR_NOT_LEADER ||
           status == -ERR_TIMEOUT || status == -ERR_CLOSED || status == -ERR_UNREACHABLE;
}

static const struct member *find_node(const struct members *all, uint32_t node)
{
    for (unsigned i = 0; i < all->count; i++)
        if (all->items[i].node == node)
            return &all->items[i];
    return NULL;
}

static unsigned voters_of(const struct members *all)
{
    unsigned voters = 0;
    for (unsigned i = 0; i < all->count; i++)
        voters += all->items[i].is_voter;
    return voters;
}

static int fetch_led(const char *cluster, struct members *ret, struct err_text *why)
{
    int status = members_fetch(cluster, ret, why);
    if (status == 0 && !ret->leader)
        status = err_set(ERR_NOT_LEADER, why, "nobody leads");
    if (status != 0)
        members_release(ret);
    return status;
}

static int give_up(const char *what, uint32_t node, unsigned wait_s, const struct err_text *why)
{
    return complain_text(EXIT_NO_LEADER,
                         "m%u was not %s within %u s: %s\n  try: cairn meta ls, and then the same "
                         "command again",
                         node, what, wait_s, why->text);
}

static int refused(const char *what, uint32_t node, int status, const struct err_text *why)
{
    enum exit_code code = status == -ERR_EXISTS ? EXIT_REFUSED : (enum exit_code)exit_of(status);
    return complain_text(code, "m%u cannot be %s: %s\n  try: cairn meta ls", node, what, why->text);
}

/* ---- add ---- */

struct adding {
    uint32_t node;
    const char *address;
    uint64_t said_ms;
    bool is_learner_said, is_done;
};

static void say_progress(struct adding *a, const struct members *all, const struct member *one)
{
    char have[TEXT_SIZE], all_text[TEXT_SIZE];
    if (loop_now_ms() < a->said_ms)
        return;
    a->said_ms = loop_now_ms() + SAY_MS;
    if (one->is_up)
        (void)printf("m%u has %s of %s entries\n", a->node, text_count(one->match_index, have),
                     text_count(all->leader->said.last_index, all_text));
    else
        (void)printf("m%u does not answer at %s yet; start it there, with join = yes and an empty "
                     "folder\n",
                     a->node, one->address);
    (void)fflush(stdout);
}

/* One step towards a voter: added, caught up, promoted. */
static int add_step(struct adding *a, const struct members *all, struct err_text *why)
{
    const struct member *one = find_node(all, a->node);
    if (!one)
        return ask_change(all->leader, META_CHANGE_ADD, a->node, a->address, why);
    if (strcmp(one->address, a->address) != 0)
        return err_set(ERR_EXISTS, why, "m%u is at %s; remove it first, or take another number",
                       a->node, one->address);
    if (one->is_voter) {
        a->is_done = true;
        return 0;
    }
    if (!a->is_learner_said)
        (void)printf("m%u is a learner: it is being filled\n", a->node);
    a->is_learner_said = true;
    int status = ask_change(all->leader, META_CHANGE_PROMOTE, a->node, "", why);
    if (status == -ERR_BUSY)
        say_progress(a, all, one);
    return status;
}

int meta_add(const char *cluster, uint32_t node, const char *address, unsigned wait_s)
{
    struct adding a = {.node = node, .address = address, .said_ms = loop_now_ms() + SAY_MS};
    struct err_text why = {""};
    char took[TEXT_SIZE];
    uint64_t begun = loop_now_ms(), end = begun + wait_s * 1000ull;
    while (loop_now_ms() < end) {
        struct members all;
        int status = fetch_led(cluster, &all, &why);
        if (status == 0) {
            status = add_step(&a, &all, &why);
            if (a.is_done)
                (void)printf("m%u votes, after %s; %u metaservers vote now\n", node,
                             text_duration(loop_now_ms() - begun, took), voters_of(&all));
            members_release(&all);
        }
        if (a.is_done)
            return EXIT_GOOD;
        if (!may_ask_again(status))
            return refused("added", node, status, &why);
        if (status != 0)
            (void)usleep(POLL_US);
    }
    return give_up("made a voter", node, wait_s, &why);
}

/* "m4=host:port", "4=host:port". */
static bool parse_member(const char *word, uint32_t *ret_node, const char **ret_address)
{
    const char *digits = word + (word[0] == 'm');
    char *end;
    unsigned long node = strtoul(digits, &end, 10);
    if (end == digits || node == 0 || node > 1000 || (*end != '=' && *end != '\0'))
        return false;
    *ret_node = (uint32_t)node;
    *ret_address = *end ? end + 1 : end;
    return true;
}

int command_meta_add(const struct arguments *a)
{
    char cluster[CLUSTER_TEXT_MAX];
    struct err_text why = {""};
    const char *address;
    uint32_t node;
    unsigned wait_s;
    if (option_number(a, "timeout", ADD_WAIT_S, 1, 86400, &wait_s, &why) != 0)
        return complain_text(EXIT_USAGE, "%s", why.text);
    if (!parse_member(a->words[0], &node, &address) || !strchr(address, ':'))
        return complain_text(EXIT_USAGE,
                             "'%.60s' is not NUMBER=host:port\n  try: cairn meta add "
                             "4=10.0.0.4:7001",
                             a->words[0]);
    int code = cluster_of(a, NULL, cluster);
    return code == EXIT_GOOD ? meta_add(cluster, node, address, wait_s) : code;
}

/* ---- remove ---- */

int meta_remove(const char *cluster, uint32_t node, unsigned wait_s)
{
    struct err_text why = {""};
    uint64_t end = loop_now_ms() + wait_s * 1000ull;
    bool was_there = false;
    while (loop_now_ms() < end) {
        struct members all;
        int status = fetch_led(cluster, &all, &why);
        if (status == 0) {
            bool is_there = find_node(&all, node) != NULL;
            unsigned voters = voters_of(&all);
            if (is_there)
                status = ask_change(all.leader, META_CHANGE_REMOVE, node, "", &why);
            members_release(&all);
            if (!is_there && was_there) {
                (void)printf(
                    "m%u is removed; %u metaservers vote now. Stop it; its folder is of no "
                    "more use\n",
                    node, voters);
                return EXIT_GOOD;
            }
            if (!is_there)
                return complain_text(EXIT_NOT_FOUND,
                                     "no metaserver is called 'm%u'\n  try: cairn "
                                     "meta ls",
                                     node);
            was_there = true;
        }
        if (!may_ask_again(status))
            return refused("removed", node, status, &why);
        if (status != 0)
            (void)usleep(POLL_US);
    }
    return give_up("removed", node, wait_s, &why);
}

int command_meta_remove(const struct arguments *a)
{
    char cluster[CLUSTER_TEXT_MAX];
    struct err_text why = {""};
    const char *rest;
    uint32_t node;
    unsigned wait_s;
    if (option_number(a, "timeout", REMOVE_WAIT_S, 1, 3600, &wait_s, &why) != 0)
        return complain_text(EXIT_USAGE, "%s", why.text);
    if (!parse_member(a->words[0], &node, &rest) || *rest)
        return complain_text(EXIT_USAGE, "'%.60s' is no metaserver\n  try: cairn meta remove m2",
                             a->words[0]);
    int code = cluster_of(a, NULL, cluster);
    return code == EXIT_GOOD ? meta_remove(cluster, node, wait_s) : code;
}
