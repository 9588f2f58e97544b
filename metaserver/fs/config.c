/* The policy of the cluster: rows by name, their mirror in memory, the command and the question.
 *
 * A row keeps what the value means and how it was written: the first decides, so that no later
 * version of the parser can read an old row in another way. */
#include "metaserver/fs/state.h"

#include "common/base/conf.h"

#include "common/base/banned.h"

static const struct config_row {
    const char *name;
    enum conf_kind kind;
    const char *initial;
    uint64_t min, max;
    const char *help;
} table[CONFIG_COUNT] = {
#define X(name, kind, fallback, min, max, help) {#name, CONF_##kind, fallback, min, max, help},
#include "metaserver/fs/config.tbl"
#undef X
};

/* ---- values ---- */

static int parse(const struct config_row *row, const char *text, uint64_t *ret)
{
    struct err_text why;
    int status;
    if (row->kind == CONF_SIZE)
        status = conf_parse_size(text, ret, &why);
    else if (row->kind == CONF_TIME)
        status = conf_parse_time(text, ret, &why);
    else
        status = conf_parse_number(text, ret, &why);
    if (status)
        return -ERR_CONFIG;
    return *ret < row->min || *ret > row->max ? -ERR_RANGE : 0;
}

uint64_t fs_config(const struct fs *fs, enum config_key key)
{
    uint64_t value = 0;
    if (fs->config.values[key].text[0])
        return fs->config.values[key].value;
    (void)parse(&table[key], table[key].initial, &value);
    return value;
}

/* ---- rows ---- */

static struct row_key key_of_name(struct slice name)
{
    struct row_key k = key_of_table('C');
    memcpy(k.bytes + k.size, name.data, name.size);
    k.size += name.size;
    return k;
}

/* CONFIG_COUNT when there is none. */
static unsigned find(struct slice name)
{
    unsigned key = 0;
    while (key < CONFIG_COUNT && !slice_equal(name, slice_str(table[key].name)))
        key++;
    return key;
}

int config_unpack(struct slice key, struct slice value, struct config_values *ret)
{
    struct wire_in in = {value.data, value.data + value.size, WIRE_VERSION};
    struct config_value v = {0};
    struct slice text;
    unsigned at = key.size > 0 ? find(slice_of(key.data + 1, key.size - 1)) : CONFIG_COUNT;
    if (at == CONFIG_COUNT || !get_u64(&in, &v.value) || !get_str(&in, &text) || in.at != in.end ||
        text.size == 0 || text.size >= CONFIG_TEXT_MAX || memchr(text.data, 0, text.size) ||
        v.value < table[at].min || v.value > table[at].max)
        return -ERR_CORRUPT;
    memcpy(v.text, text.data, text.size);
    ret->values[at] = v;
    return 0;
}

int config_load(struct config_values *config, struct fs_view *v)
{
    struct slice key, value;
    struct row_key from = key_of_table('C');
    *config = (struct config_values){0};
    int status = row_seek(v, from, 1, &key, &value);
    for (; status == 0; status = row_next(v, from, 1, &key, &value))
        if (config_unpack(key, value, config) != 0)
            return -ERR_CORRUPT;
    return status == -ERR_NO_ENTRY ? 0 : status;
}

static void put(struct fs *fs, struct row_key key, const struct config_value *v)
{
    struct bytes row = {0};
    put_u64(&row, v->value);
    put_str(&row, slice_str(v->text));
    row_put(fs, key, bytes_slice(&row));
    bytes_release(&row);
}

/* ---- the command and the question ---- */

int op_config_set(struct op *o, const struct msg_config_set *m)
{
    struct config_value v = {0};
    unsigned key = find(m->name);
    if (key == CONFIG_COUNT)
        return -ERR_NO_ENTRY;
    if (m->value.size >= CONFIG_TEXT_MAX)
        return -ERR_RANGE;
    if (m->value.size > 0) {
        memcpy(v.text, m->value.data, m->value.size);
        int status =
            strlen(v.text) == m->value.size ? parse(&table[key], v.text, &v.value) : -ERR_CONFIG;
        if (status)
            return status;
    }
    if (o->check_only)
        return 0;
    struct config_value *now = &o->fs->config.values[key];
    if (v.text[0])
        put(o->fs, key_of_name(m->name), &v);
    else if (now->text[0])
        row_remove(o->fs, key_of_name(m->name));
    *now = v;
    o->fs->mirrors_touched = true;
    return reply_done(o);
}

int query_config_get(struct query *q, const struct msg_config_get *m)
{
    struct rec_config_entry entries[CONFIG_COUNT];
    (void)m;
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        const struct config_value *v = &q->fs->config.values[i];
        entries[i] = (struct rec_config_entry){
            .name = slice_str(table[i].name),
            .value = slice_str(v->text[0] ? v->text : table[i].initial),
            .initial = slice_str(table[i].initial),
            .help = slice_str(table[i].help),
        };
    }
    encode_config_get_r(
        q->out, &(struct msg_config_get_r){.entries = {.count = CONFIG_COUNT, .items = entries}});
    return 0;
}
