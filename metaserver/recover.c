/* The majority is lost for good: one surviving folder becomes a cluster of its own.
 *
 * Appends to its log a configuration of itself alone. What it does not hold of what was
 * acknowledged is lost, and what it holds that never was becomes true. The others must never come
 * back with their old folders: they would be a second cluster of the same name. Without the
 * confirmation it only tells what the folder holds, in the lines that tools/recover.c reads. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "metaserver/metaserver.h"

int meta_may_recover(const struct metaserver *m, struct err_text *why)
{
    char path[4096];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/log", m->options.data);
    if (stat(path, &st) != 0)
        return err_set(ERR_REFUSED, why, "%.180s holds no cluster", m->options.data);
    /* Files that this process makes would lock out the one whose folder it is. */
    if (st.st_uid != geteuid())
        return err_set(ERR_REFUSED, why,
                       "%.120s belongs to user %u; do it as that one: sudo -u '#%u' ...",
                       m->options.data, (unsigned)st.st_uid, (unsigned)st.st_uid);
    return 0;
}

/* ---- what the folder holds ---- */

struct survey {
    const struct metaserver *m;
    struct raft_config config; /* in force at the end of the log */
    uint64_t term;             /* of the last entry */
    int64_t time_ns;           /* of the last change; 0 = not in the log */
};

static void look_at_entry(struct survey *s, const struct raft_entry *entry)
{
    struct raft_config config;
    struct fs_command command;
    s->term = entry->term;
    if (entry->kind == RAFT_ENTRY_COMMAND && fs_command_decode(entry->payload, &command) == 0)
        s->time_ns = command.time_ns;
    if (entry->kind == RAFT_ENTRY_CONFIG && entry->index > s->m->checkpoint.index &&
        raft_config_decode(entry->payload, &config) == 0)
        s->config = config;
}

static uint64_t last_entry(const struct metaserver *m)
{
    return m->recovery.last_index > m->checkpoint.index ? m->recovery.last_index
                                                        : m->checkpoint.index;
}

static struct survey look(const struct metaserver *m)
{
    struct survey s = {.m = m, .config = m->config};
    for (unsigned i = 0; i < m->gathered.count; i++)
        look_at_entry(&s, &m->gathered.entries[i]);
    if (m->recovery.last_index <= m->checkpoint.index)
        s.term = m->checkpoint.term;
    return s;
}

static void tell(const struct metaserver *m, const struct survey *s)
{
    char cluster[UUID_TEXT_SIZE];
    uuid_format(&m->cluster, cluster);
    (void)printf("node %" PRIu64 "\ncluster %s\ndata %s\nwhole %d\napplied %" PRIu64
                 "\nlast %" PRIu64 "\nterm %" PRIu64 "\ntime_ns %" PRId64 "\n",
                 m->options.id, cluster, m->options.data, m->standing.state == STANDING_MEMBER,
                 meta_applied(m), last_entry(m), s->term, s->time_ns);
    for (unsigned i = 0; i < s->config.count; i++) {
        const struct raft_server *server = &s->config.servers[i];
        (void)printf("%s %" PRIu32 " %.*s\n", server->voter ? "voter" : "learner", server->id,
                     (int)server->address_size, (const char *)server->address);
    }
    (void)printf("end\n");
    (void)fflush(stdout);
}

/* ---- doing it ---- */

/* The options come first: the machine may have moved. But `listen` alone may be no address at which
 * others reach it. */
static struct slice own_address(const struct metaserver *m, const struct survey *s)
{
    uint32_t self = (uint32_t)m->options.id;
    const struct raft_server *own = raft_config_find(&s->config, self);
    if (raft_config_find(&m->peers, self) || !own)
        return slice_str(m->address);
    return slice_of(own->address, own->address_size);
}

static int append_config(struct metaserver *m, const struct survey *s, uint64_t term,
                         uint64_t *ret_index)
{
    struct raft_config alone = {0};
    uint8_t bytes[RAFT_CONFIG_BYTES_MAX];
    uint64_t last = last_entry(m);
    int status = raft_config_add(&alone, (uint32_t)m->options.id, true, own_address(m, s));
    /* It died between installing a checkpoint and moving the log behind it (R9). */
    if (status == 0 && m->recovery.last_index < last)
        status = log_store_reset(m->log, last, m->checkpoint.term);
    struct log_entry entry = {.index = last + 1,
                              .term = term,
                              .kind = RAFT_ENTRY_CONFIG,
                              .data = slice_of(bytes, raft_config_encode(&alone, bytes))};
    if (status == 0)
        status = log_store_append(m->log, entry.index, &entry, 1);
    *ret_index = entry.index;
    return status == 0 ? log_store_sync(m->log) : status;
}

int meta_force_new_cluster(struct metaserver *m, struct err_text *why)
{
    struct log_vote vote;
    uint64_t index = 0;
    if (m->standing.state == STANDING_NEW)
        return err_set(ERR_REFUSED, why, "%.180s holds no cluster", m->options.data);
    struct survey survey = look(m);
    if (!m->options.yes_i_may_lose_data) {
        tell(m, &survey);
        return err_set(
            ERR_REFUSED, why,
            "force_new_cluster makes a cluster of this folder alone. Changes that only the "
            "others hold are LOST, and they must never be started with their old folders "
            "again. Use it when most of them are gone for ever, with "
            "--yes-i-may-lose-data yes");
    }
    log_store_vote(m->log, &vote);
    /* In this order: a term that nobody used does no harm without the entry. */
    int status = log_store_set_vote(m->log, vote.term + 1, (uint32_t)m->options.id);
    if (status == 0)
        status = append_config(m, &survey, vote.term + 1, &index);
    m->standing.state = STANDING_MEMBER;
    if (status == 0)
        status = meta_store_standing(m);
    if (status != 0)
        return err_set((enum err) - status, why, "cannot write in %.160s: %s", m->options.data,
                       err_text(status));
    (void)printf(
        "m%llu is a cluster of its own from entry %llu on. Start it; then add others, with "
        "new numbers and empty folders: cairn meta add\n",
        (unsigned long long)m->options.id, (unsigned long long)index);
    return 0;
}
