/* A fresh folder per test, entries that can be recognised, and a model of a log. */
#include "tests/unit/metaserver/store_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/banned.h"

char fixture_folder[256];
const struct uuid fixture_cluster = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

void fixture_setup(void)
{
    const char *base = getenv("CAIRN_TEST_DIR");
    if (!base || strlen(base) > 200)
        base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(fixture_folder, sizeof fixture_folder, "%s/metastore-XXXXXX", base);
    CHECK(mkdtemp(fixture_folder) != NULL);
}

void fixture_teardown(void)
{
    char command[sizeof fixture_folder + 16];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", fixture_folder);
    CHECK(system(command) == 0);
}

uint64_t fixture_seed(void)
{
    const char *text = getenv("SEED");
    return text ? strtoull(text, NULL, 0) : 20260101;
}

struct log_entry entry_make(uint64_t index, uint64_t term, uint8_t data[ENTRY_DATA_MAX])
{
    struct prng p;
    prng_init(&p, index * 1000003 + term);
    size_t size = prng_chance(&p, 100)  ? 0
                  : prng_chance(&p, 50) ? prng_below(&p, ENTRY_DATA_MAX)
                                        : prng_below(&p, 400);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = prng_next(&p);
        memcpy(data + i, &word, size - i < 8 ? size - i : 8);
    }
    return (struct log_entry){.index = index,
                              .term = term,
                              .kind = (uint8_t)(1 + index % 3),
                              .data = slice_of(data, size)};
}

bool entry_right(const struct log_entry *entry, uint64_t term)
{
    uint8_t data[ENTRY_DATA_MAX];
    struct log_entry want = entry_make(entry->index, term, data);
    return entry->term == term && entry->kind == want.kind && slice_equal(entry->data, want.data);
}

void model_init(struct model *m)
{
    memset(m, 0, sizeof *m);
    m->first = 1;
}

struct readback {
    const struct log_gather *gathered;
    unsigned next;
    bool right;
};

static int compare_gathered(void *arg, const struct log_entry *entry)
{
    struct readback *b = arg;
    if (b->next >= b->gathered->count)
        return -ERR_INVALID;
    const struct raft_entry *e = &b->gathered->entries[b->next++];
    b->right = b->right && e->index == entry->index && e->term == entry->term &&
               (uint8_t)e->kind == entry->kind && slice_equal(e->payload, entry->data);
    return 0;
}

/* Entry for entry what a second reading gives; of a faulty log it is worth nothing. */
static void check_gathered(struct log_store *store, const struct log_recovery *r,
                           const struct log_gather *g)
{
    struct readback b = {g, 0, true};
    int result = 0;
    if (r->verdict == LOG_FAULTY)
        return;
    CU_ASSERT_TRUE(log_gather_holds(g, r->first_index, r->last_index));
    if (r->last_index >= r->first_index)
        result = log_store_read(store, r->first_index, r->last_index, 0, compare_gathered, &b);
    CU_ASSERT_EQUAL(result, 0);
    CU_ASSERT_TRUE(b.right && b.next == g->count);
}

int log_reopen(struct log_store **store, struct log_recovery *ret_recovery, uint64_t segment_size)
{
    log_store_close(*store);
    *store = NULL;
    char folder[300];
    (void)snprintf(folder, sizeof folder, "%s/log", fixture_folder);
    struct log_store_options options = {
        .segment_size_bytes = segment_size, .ballast_size_bytes = 8192, .create = true};
    struct log_gather gathered = {.entries = NULL};
    struct log_recovery recovery;
    struct err_text why = {""};
    options.sink = log_gather_sink(&gathered);
    int result =
        log_store_open(folder, &fixture_cluster, FIXTURE_NODE, &options, store, &recovery, &why);
    if (result != 0)
        printf("# open: %s: %s\n", err_name(result), why.text);
    else
        check_gathered(*store, &recovery, &gathered);
    log_gather_release(&gathered);
    if (result == 0 && ret_recovery)
        *ret_recovery = recovery;
    return result;
}

int log_put(struct log_store *store, struct model *m, uint64_t from, unsigned count, uint64_t term)
{
    struct log_entry *entries = calloc(count + 1, sizeof *entries);
    uint8_t *data = malloc((size_t)ENTRY_DATA_MAX * (count + 1));
    CHECK(entries && data && from + count < MODEL_MAX);
    for (unsigned i = 0; i < count; i++)
        entries[i] = entry_make(from + i, term, data + (size_t)i * ENTRY_DATA_MAX);
    int result = log_store_append(store, from, entries, count);
    if (result == 0) {
        for (unsigned i = 0; i < count; i++)
            m->terms[from + i] = term;
        m->last = from + count - 1;
    }
    free(entries);
    free(data);
    return result;
}

struct comparison {
    const struct model *model;
    uint64_t next;
    bool right;
};

static int compare(void *arg, const struct log_entry *entry)
{
    struct comparison *c = arg;
    c->right = c->right && entry->index == c->next && entry->index < MODEL_MAX &&
               entry_right(entry, c->model->terms[entry->index]);
    c->next++;
    return 0;
}

bool log_equals(struct log_store *store, const struct model *m)
{
    struct log_range range;
    log_store_range(store, &range);
    if (range.last_index != m->last || range.first_index > m->first)
        return false;
    struct comparison c = {m, m->first, true};
    int result = 0;
    if (m->last >= m->first)
        result = log_store_read(store, m->first, m->last, 0, compare, &c);
    if (result != 0)
        printf("# read: %s\n", err_name(result));
    return result == 0 && c.right && c.next == m->last + 1;
}

void file_flip(const char *name, uint64_t offset, uint8_t mask)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;
    CHECK(fd >= 0 && pread(fd, &byte, 1, (off_t)offset) == 1);
    byte ^= mask;
    CHECK(pwrite(fd, &byte, 1, (off_t)offset) == 1);
    (void)close(fd);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

const char *file_find(const char *folder, const char *prefix, unsigned n)
{
    static char found[512];
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", fixture_folder, folder);
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, by_name);
    found[0] = '\0';
    for (int i = 0; i < count; i++) {
        if (strncmp(names[i]->d_name, prefix, strlen(prefix)) == 0 && n-- == 0)
            (void)snprintf(found, sizeof found, "%s/%s", folder, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    return found;
}
