/* cairn config get, set, show: the policy of the whole cluster, which the metaservers keep. */
#include <stdio.h>
#include <string.h>

#include "common/base/conf.h"
#include "tools/admin.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/text.h"

enum { ENTRIES_MAX = 128 };

struct policy {
    struct blocking_client *client;
    struct bytes bytes;
    unsigned count;
    struct rec_config_entry entries[ENTRIES_MAX];
};

static void policy_end(struct policy *p)
{
    bytes_release(&p->bytes);
    (void)blocking_stop(p->client);
}

static int fetch(struct policy *p)
{
    struct bytes body = {0};
    struct msg_config_get_r reply;
    struct err_text why = {""};
    encode_config_get(&body, &(struct msg_config_get){0});
    int status = admin_ask(p->client, MSG_config_get, &body, MSG_config_get_r, &p->bytes, &why);
    if (status == 0)
        status = decode_config_get_r(bytes_slice(&p->bytes), WIRE_VERSION, &reply);
    if (status != 0)
        return complain(status, "the policy cannot be read (%s)", why.text);
    struct slice cursor = reply.entries.raw;
    p->count = 0;
    while (p->count < ENTRIES_MAX && rec_config_entry_next(&cursor, &p->entries[p->count]))
        p->count++;
    return EXIT_GOOD;
}

/* Released by the caller when it is EXIT_GOOD. */
static int policy_begin(const struct arguments *a, struct policy *p)
{
    char cluster[CLUSTER_TEXT_MAX];
    *p = (struct policy){0};
    int code = cluster_of(a, NULL, cluster);
    if (code == EXIT_GOOD)
        code = connect_admin(cluster, &p->client);
    if (code != EXIT_GOOD)
        return code;
    code = fetch(p);
    if (code != EXIT_GOOD)
        policy_end(p);
    return code;
}

static const struct rec_config_entry *find(const struct policy *p, const char *name)
{
    for (unsigned i = 0; i < p->count; i++)
        if (slice_equal(p->entries[i].name, slice_str(name)))
            return &p->entries[i];
    return NULL;
}

static int no_entry(const struct policy *p, const char *name)
{
    static char names[ENTRIES_MAX][64];
    const char *known[ENTRIES_MAX];
    for (unsigned i = 0; i < p->count; i++) {
        (void)snprintf(names[i], sizeof names[i], "%.*s", (int)p->entries[i].name.size,
                       (const char *)p->entries[i].name.data);
        known[i] = names[i];
    }
    const char *near = conf_nearest(name, known, p->count);
    return complain_text(EXIT_NOT_FOUND,
                         "no policy is called '%.40s'%s%s\n  try: cairn config show", name,
                         near ? "; did you mean: " : "", near ? near : "");
}

static json_t *entry_json(const struct rec_config_entry *e)
{
    return json_pack("{s:o s:o s:o s:o}", "name", json_of_slice(e->name), "value",
                     json_of_slice(e->value), "default", json_of_slice(e->initial), "help",
                     json_of_slice(e->help));
}

static void cell_of(struct slice s, char ret_cell[TABLE_CELL_MAX])
{
    (void)snprintf(ret_cell, TABLE_CELL_MAX, "%.*s",
                   s.size >= TABLE_CELL_MAX ? TABLE_CELL_MAX - 1 : (int)s.size,
                   s.size ? (const char *)s.data : "");
}

static void print_all(const struct policy *p)
{
    static const char *const head[] = {"NAME", "VALUE", "DEFAULT", "MEANING"};
    struct text_table table;
    text_table_init(&table, 3);
    text_table_row(&table, head);
    for (unsigned i = 0; i < p->count; i++) {
        char name[TABLE_CELL_MAX], value[TABLE_CELL_MAX], initial[TABLE_CELL_MAX];
        cell_of(p->entries[i].name, name);
        cell_of(p->entries[i].value, value);
        cell_of(p->entries[i].initial, initial);
        const char *row[] = {name, value, initial};
        text_table_row(&table, row);
    }
    text_table_print(&table);
    text_table_release(&table);
    for (unsigned i = 0; i < p->count; i++)
        (void)printf("%s%.*s: %.*s\n", i ? "" : "\n", (int)p->entries[i].name.size,
                     (const char *)p->entries[i].name.data, (int)p->entries[i].help.size,
                     (const char *)p->entries[i].help.data);
}

int command_config_show(const struct arguments *a)
{
    struct policy p;
    struct err_text why = {""};
    bool json = false;
    if (option_json(a, &json, &why) != 0)
        return complain_text(EXIT_USAGE, "%s", why.text);
    int code = policy_begin(a, &p);
    if (code != EXIT_GOOD)
        return code;
    if (json) {
        json_t *list = json_array();
        for (unsigned i = 0; i < p.count; i++)
            json_array_append_new(list, entry_json(&p.entries[i]));
        json_print(list);
    } else {
        print_all(&p);
    }
    policy_end(&p);
    return code;
}

int command_config_get(const struct arguments *a)
{
    struct policy p;
    int code = policy_begin(a, &p);
    if (code != EXIT_GOOD)
        return code;
    const struct rec_config_entry *e = find(&p, a->words[0]);
    if (e)
        (void)printf("%.*s\n", (int)e->value.size, (const char *)e->value.data);
    else
        code = no_entry(&p, a->words[0]);
    policy_end(&p);
    return code;
}

int command_config_set(const struct arguments *a)
{
    struct policy p;
    struct bytes body = {0};
    struct err_text why = {""};
    const char *name = a->words[0], *value = a->word_count > 1 ? a->words[1] : "";
    bool is_default = option_given(a, "default");
    if (is_default != (a->word_count == 1))
        return complain_text(EXIT_USAGE,
                             "which value?\n  try: cairn config set %s VALUE, or "
                             "cairn config set %s --default",
                             name, name);
    int code = policy_begin(a, &p);
    if (code != EXIT_GOOD)
        return code;
    if (!find(&p, name)) {
        code = no_entry(&p, name);
        policy_end(&p);
        return code;
    }
    encode_config_set(&body,
                      &(struct msg_config_set){.name = slice_str(name), .value = slice_str(value)});
    int status = admin_do(p.client, MSG_config_set, &body, &why);
    if (status != 0) {
        bool is_bad = status == -ERR_INVALID || status == -ERR_CONFIG || status == -ERR_RANGE;
        code = complain_text(is_bad ? EXIT_USAGE : (enum exit_code)exit_of(status),
                             "%s cannot be set: %s\n  try: cairn config show", name, why.text);
    } else if (fetch(&p) == EXIT_GOOD && find(&p, name)) {
        const struct rec_config_entry *e = find(&p, name);
        (void)printf("%s = %.*s\n", name, (int)e->value.size, (const char *)e->value.data);
    }
    policy_end(&p);
    return code;
}
