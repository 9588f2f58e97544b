/* The state as a whole: a reference model, two stores, snapshots, replicas, garbage, restarts. */
#include "common/base/prng.h"
#include "tests/unit/metaserver/fs/fixture.h"

enum { NODES_MAX = 4000, NAMES = 24, LIVE_MAX = 300 };

static uint64_t seed(void)
{
    const char *text = getenv("SEED");
    return text ? strtoull(text, NULL, 10) : 1;
}

/* ---- a reference model: nodes and a flat list of names ---- */

struct model_node {
    uint64_t inode, size;
    unsigned nlink; /* names; directories: 1 */
    bool directory;
};
struct model_name {
    unsigned parent, child, name;
    bool used;
};
struct model {
    struct model_node nodes[NODES_MAX];
    struct model_name names[LIVE_MAX];
    unsigned node_count;
};

static struct model_name *model_find(struct model *t, unsigned parent, unsigned name)
{
    for (unsigned i = 0; i < LIVE_MAX; i++)
        if (t->names[i].used && t->names[i].parent == parent && t->names[i].name == name)
            return &t->names[i];
    return NULL;
}

static struct model_name *model_free(struct model *t)
{
    for (unsigned i = 0; i < LIVE_MAX; i++)
        if (!t->names[i].used)
            return &t->names[i];
    return NULL;
}

static bool model_empty(const struct model *t, unsigned directory)
{
    for (unsigned i = 0; i < LIVE_MAX; i++)
        if (t->names[i].used && t->names[i].parent == directory)
            return false;
    return true;
}

static bool model_is_under(const struct model *t, unsigned node, unsigned above)
{
    while (node != above && node != 0)
        for (unsigned i = 0; i < LIVE_MAX; i++)
            if (t->names[i].used && t->names[i].child == node) {
                node = t->names[i].parent;
                break;
            }
    return node == above;
}

static int model_rename(struct model *t, unsigned parent, unsigned name, unsigned to, unsigned as)
{
    struct model_name *old = model_find(t, parent, name), *target = model_find(t, to, as);
    if (!old)
        return -ERR_NO_ENTRY;
    struct model_node *moved = &t->nodes[old->child];
    if (moved->directory && parent != to && model_is_under(t, to, old->child))
        return -ERR_INVALID;
    if (target && target->child == old->child)
        return 0;
    if (target) {
        struct model_node *victim = &t->nodes[target->child];
        if (moved->directory && !victim->directory)
            return -ERR_NOT_DIR;
        if (!moved->directory && victim->directory)
            return -ERR_IS_DIR;
        if (victim->directory && !model_empty(t, target->child))
            return -ERR_NOT_EMPTY;
        victim->nlink--;
        target->used = false;
    }
    old->parent = to;
    old->name = as;
    return 0;
}

static struct machine m;
static struct model *model;

static char name_text[8];
static struct slice text_of(unsigned name)
{
    CHECK(snprintf(name_text, sizeof name_text, "n%u", name) > 0);
    return slice_str(name_text);
}

/* A node that still has a name; its directory bit as asked, or the root. */
static unsigned pick(struct prng *p, bool directory)
{
    for (int tries = 0; tries < 50; tries++) {
        const struct model_name *n = &model->names[prng_below(p, LIVE_MAX)];
        if (n->used && model->nodes[n->child].directory == directory)
            return n->child;
    }
    return 0;
}

static void step_make(struct prng *p, unsigned parent, unsigned name)
{
    struct model_name *place = model_free(model);
    bool directory = prng_chance(p, 400);
    if (!place || model->node_count == NODES_MAX)
        return;
    int expected = model_find(model, parent, name) ? -ERR_EXISTS : 0;
    int status = APPLY(&m, meta_mknod, caller_of(&m, 0, 0), model->nodes[parent].inode,
                       text_of(name), (directory ? S_IFDIR : S_IFREG) | 0755, 0);
    CU_ASSERT_EQUAL_FATAL(status, expected);
    if (status)
        return;
    struct msg_meta_entry_r r;
    CU_ASSERT_EQUAL_FATAL(decode_meta_entry_r(m.result.body, WIRE_VERSION, &r), 0);
    model->nodes[model->node_count] =
        (struct model_node){.inode = r.attr.inode, .nlink = 1, .directory = directory};
    *place = (struct model_name){parent, model->node_count++, name, true};
}

static void step_remove(struct prng *p, unsigned parent, unsigned name)
{
    struct model_name *n = model_find(model, parent, name);
    bool rmdir_it = prng_chance(p, 500);
    int expected = 0;
    if (!n)
        expected = -ERR_NO_ENTRY;
    else if (rmdir_it != model->nodes[n->child].directory)
        expected = rmdir_it ? -ERR_NOT_DIR : -ERR_IS_DIR;
    else if (rmdir_it && !model_empty(model, n->child))
        expected = -ERR_NOT_EMPTY;
    uint64_t inode = model->nodes[parent].inode;
    struct wire_caller c = caller_of(&m, 0, 0);
    int status = rmdir_it ? APPLY(&m, meta_rmdir, c, inode, text_of(name))
                          : APPLY(&m, meta_unlink, c, inode, text_of(name));
    CU_ASSERT_EQUAL_FATAL(status, expected);
    if (status == 0) {
        model->nodes[n->child].nlink--;
        n->used = false;
    }
}

static void step_contents(struct prng *p)
{
    unsigned file = pick(p, false);
    if (file == 0)
        return;
    struct model_node *n = &model->nodes[file];
    struct wire_attr a;
    CU_ASSERT_EQUAL_FATAL(fs_get_attr(m.view, n->inode, &a), 0);
    struct wire_caller c = caller_of(&m, 0, 0);
    uint64_t size = prng_below(p, 6ull * CHUNK_SIZE);
    if (prng_chance(p, 500)) {
        struct rec_chunk_slot slot = {.index = (uint32_t)prng_below(p, 6),
                                      .generation = a.chunk_generation};
        CU_ASSERT_EQUAL_FATAL(
            APPLY(&m, meta_commit, c, n->inode, size, INT64_MIN, {.count = 1, .items = &slot}), 0);
        n->size = size > n->size ? size : n->size;
    } else {
        CU_ASSERT_EQUAL_FATAL(
            APPLY(&m, meta_setattr, c, n->inode, .valid = SETATTR_SIZE, .size = size), 0);
        n->size = size;
    }
}

static void step_link(struct prng *p, unsigned parent, unsigned name)
{
    unsigned file = pick(p, false);
    struct model_name *place = model_free(model);
    if (file == 0 || !place)
        return;
    int expected = model_find(model, parent, name) ? -ERR_EXISTS : 0;
    CU_ASSERT_EQUAL_FATAL(APPLY(&m, meta_link, caller_of(&m, 0, 0), model->nodes[file].inode,
                                model->nodes[parent].inode, text_of(name)),
                          expected);
    if (expected == 0) {
        *place = (struct model_name){parent, file, name, true};
        model->nodes[file].nlink++;
    }
}

static void random_step(struct prng *p)
{
    unsigned parent = pick(p, true), name = (unsigned)prng_below(p, NAMES);
    switch (prng_below(p, 6)) {
    case 0:
    case 1:
        step_make(p, parent, name);
        break;
    case 2:
        step_remove(p, parent, name);
        break;
    case 3:
        step_link(p, parent, name);
        break;
    case 4:
        step_contents(p);
        break;
    default: {
        unsigned to = pick(p, true), as = (unsigned)prng_below(p, NAMES);
        char new_name[8];
        CHECK(snprintf(new_name, sizeof new_name, "n%u", as) > 0);
        int status = APPLY(&m, meta_rename, caller_of(&m, 0, 0), model->nodes[parent].inode,
                           text_of(name), model->nodes[to].inode, slice_str(new_name), 0);
        int expected = model_rename(model, parent, name, to, as);
        CU_ASSERT_EQUAL_FATAL(status, expected);
    }
    }
}

static void compare_with_model(void)
{
    uint64_t inode;
    struct wire_attr a;
    unsigned files = 0, directories = 1;
    for (unsigned i = 0; i < LIVE_MAX; i++) {
        const struct model_name *n = &model->names[i];
        if (!n->used)
            continue;
        const struct model_node *node = &model->nodes[n->child];
        CU_ASSERT_EQUAL_FATAL(
            fs_find_name(m.view, model->nodes[n->parent].inode, text_of(n->name), &inode), 0);
        CU_ASSERT_EQUAL_FATAL(inode, node->inode);
        CU_ASSERT_EQUAL_FATAL(fs_get_attr(m.view, inode, &a), 0);
        CU_ASSERT(node->directory ? S_ISDIR(a.mode)
                                  : a.nlink == node->nlink && a.size == node->size);
    }
    for (unsigned i = 1; i < model->node_count; i++) {
        files += !model->nodes[i].directory && model->nodes[i].nlink > 0;
        directories += model->nodes[i].directory && model->nodes[i].nlink > 0;
    }
    struct fs_status s;
    fs_get_status(m.fs, &s);
    CU_ASSERT(s.file_count == files && s.directory_count == directories);
}

static void run_model(struct kv *take_kv, unsigned steps, unsigned check_every)
{
    struct prng p;
    prng_init(&p, seed());
    printf("# seed=%llu\n", (unsigned long long)seed());
    model = calloc(1, sizeof *model);
    CHECK(model != NULL);
    model->nodes[0] = (struct model_node){.inode = ROOT_INODE, .nlink = 1, .directory = true};
    model->node_count = 1;
    machine_start(&m, take_kv);
    machine_init_cluster(&m);
    for (unsigned i = 0; i < steps; i++) {
        random_step(&p);
        if (model->node_count > NODES_MAX - 10) { /* numbers of the dead are used again */
            unsigned kept = 1;
            for (unsigned n = 1; n < model->node_count; n++) {
                if (model->nodes[n].nlink == 0)
                    continue;
                model->nodes[kept] = model->nodes[n];
                for (unsigned k = 0; k < LIVE_MAX; k++) {
                    if (model->names[k].used && model->names[k].child == n)
                        model->names[k].child = kept;
                    if (model->names[k].used && model->names[k].parent == n)
                        model->names[k].parent = kept;
                }
                kept++;
            }
            model->node_count = kept;
        }
        if (i % check_every == 0)
            machine_check(&m);
    }
    compare_with_model();
    machine_check(&m);
    free(model);
}

/* Random operations do what an independent model does; all invariants hold on the way. */
static void random_operations_follow_the_model(void)
{
    run_model(kv_mem_create(), 100000, 500);
    machine_stop(&m);
}

/* The same steps leave the same rows in LMDB and in memory (and equal hashes, R28). */
static void stores_are_equal(void)
{
    char folder[64];
    struct kv *disk = lmdb_in_new_folder(folder), *memory = kv_mem_create();
    run_model(disk, 5000, 1000);
    struct machine first = m;
    run_model(memory, 5000, 1000);
    struct fs_status a, b;
    fs_get_status(first.fs, &a);
    fs_get_status(m.fs, &b);
    CU_ASSERT_EQUAL(a.state_hash, b.state_hash);
    expect_same_rows(disk, memory);
    machine_stop(&first);
    machine_stop(&m);
    remove_folder(folder);
}

/* R11: a snapshot loads into an equal state that repeats the old answers; every torn stream is
 * refused. */
static void snapshot_carries_everything(void)
{
    struct kv *kv = kv_mem_create(), *copy = kv_mem_create();
    run_model(kv, 2000, 1000);
    struct wire_caller c = caller_of(&m, 0, 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, c, ROOT_INODE, S("last"), 0755), 0);
    struct bytes answer = {0}, stream = {0}, config = {0};
    bytes_append(&answer, m.result.body.data, m.result.body.size);
    struct fs_snapshot *s;
    struct fs_load *l;
    CU_ASSERT_EQUAL_FATAL(fs_snapshot_begin(m.view, S("config"), &s), 0);
    int more;
    do {
        more = fs_snapshot_next(s, 700, &stream);
    } while (more == 1);
    CU_ASSERT_EQUAL(more, 0);
    fs_snapshot_end(s);
    CU_ASSERT_EQUAL_FATAL(fs_load_begin(copy, &l), 0);
    for (size_t at = 0; at < stream.size; at += 333) {
        size_t size = stream.size - at < 333 ? stream.size - at : 333;
        CU_ASSERT_EQUAL_FATAL(fs_load_add(l, slice_of(stream.data + at, size)), 0);
    }
    CU_ASSERT_EQUAL_FATAL(fs_load_end(l, &config), 0);
    CU_ASSERT(slice_equal(bytes_slice(&config), S("config")));
    expect_same_rows(kv, copy);
    CU_ASSERT_EQUAL(fs_load_begin(copy, &l), -ERR_NOT_EMPTY_STATE);
    /* torn */
    struct kv *torn = kv_mem_create();
    CU_ASSERT_EQUAL_FATAL(fs_load_begin(torn, &l), 0);
    CU_ASSERT_EQUAL(fs_load_add(l, slice_of(stream.data, stream.size - 1)), 0);
    CU_ASSERT_EQUAL(fs_load_end(l, &config), -ERR_CORRUPT);
    torn->ops->destroy(torn);
    /* the repeat after the load */
    struct machine old = m;
    machine_start(&m, copy);
    m.session = old.session;
    CU_ASSERT_EQUAL(m.index, old.index);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, c, ROOT_INODE, S("last"), 0755), 0);
    CU_ASSERT(m.result.repeated && slice_equal(m.result.body, bytes_slice(&answer)));
    machine_check(&m);
    machine_stop(&m);
    machine_stop(&old);
    bytes_release(&answer);
    bytes_release(&stream);
    bytes_release(&config);
}

/* R11: LMDB reopened without its last batch stands exactly at the batch before; batches may end
 * anywhere without changing the state. */
static void reopen_goes_on_from_applied(void)
{
    char folder[64];
    machine_start(&m, lmdb_in_new_folder(folder));
    machine_init_cluster(&m);
    uint64_t session = m.session;
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, caller_of(&m, 0, 0), ROOT_INODE, S("a"), 0755), 0);
    uint64_t index = m.index;
    CU_ASSERT_EQUAL(fs_begin_batch(m.fs), 0);
    CU_ASSERT_EQUAL(fs_apply(m.fs, index + 1, 2, bytes_slice(&m.envelope), &m.result), 0);
    machine_stop(&m); /* the batch is lost */
    struct kv *kv;
    CU_ASSERT_EQUAL_FATAL(kv_lmdb_open(folder, 64 << 20, &kv), 0);
    machine_start(&m, kv);
    m.session = session;
    m.sequence = 1;
    CU_ASSERT_EQUAL(m.index, index);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, caller_of(&m, 0, 0), ROOT_INODE, S("b"), 0755), 0);
    CU_ASSERT_EQUAL(m.result.repeated, false);
    machine_check(&m);
    machine_stop(&m);
    remove_folder(folder);
}

/* R28: two replicas with other batches have equal hashes; a wrong hash in the log is noticed. */
static void hashes_agree_and_differ(void)
{
    struct machine a, b;
    machine_start(&a, kv_mem_create());
    machine_start(&b, kv_mem_create());
    machine_init_cluster(&a);
    machine_init_cluster(&b);
    CU_ASSERT_EQUAL(fs_begin_batch(b.fs), 0);
    for (int i = 0; i < 3000; i++) {
        char name[16];
        CHECK(snprintf(name, sizeof name, "f%d", i % 700) > 0);
        APPLY(&a, meta_mknod, caller_of(&a, 0, 0), ROOT_INODE, S(name), S_IFREG | 0644, 0);
        CU_ASSERT_EQUAL_FATAL(fs_apply(b.fs, a.index, 1, bytes_slice(&a.envelope), &b.result), 0);
        CU_ASSERT(slice_equal(a.result.body, b.result.body));
    }
    CU_ASSERT_EQUAL(fs_commit_batch(b.fs), 0);
    b.index = a.index;
    uint64_t index_a, hash_a, index_b, hash_b;
    CU_ASSERT(fs_last_hash(a.fs, &index_a, &hash_a) && fs_last_hash(b.fs, &index_b, &hash_b));
    CU_ASSERT(index_a == 2048 && index_b == 2048 && hash_a == hash_b);
    CU_ASSERT_EQUAL(APPLY(&b, state_hash, index_a, hash_a), 0);
    CU_ASSERT_EQUAL(b.result.diverged, false);
    CU_ASSERT_EQUAL(APPLY(&b, state_hash, index_a, hash_a + 1), 0);
    CU_ASSERT_EQUAL(b.result.diverged, true);
    machine_stop(&a);
    machine_stop(&b);
}

/* Entries of garbage, and real ones with flipped or missing bytes, are recorded errors. */
static void garbage_never_crashes(void)
{
    struct prng p;
    struct bytes entry = {0};
    prng_init(&p, seed());
    machine_start(&m, kv_mem_create());
    machine_init_cluster(&m);
    CU_ASSERT_EQUAL(fs_begin_batch(m.fs), 0);
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t noise[200];
        uint16_t code = (uint16_t)(prng_chance(&p, 500) ? 0x0101 + prng_below(&p, 0x60)
                                                        : 0x0401 + prng_below(&p, 10));
        size_t size = prng_below(&p, sizeof noise);
        for (size_t k = 0; k < size; k++)
            noise[k] = prng_chance(&p, 600) ? 0 : (uint8_t)prng_next(&p);
        if (size > 16) { /* a good start gets further */
            store_u64(noise, m.session);
            store_u64(noise + 8, i + 1);
        }
        struct fs_command c = {.code = code, .body = slice_of(noise, size)};
        bytes_clear(&entry);
        fs_command_encode(&c, &entry);
        if (prng_chance(&p, 100))
            entry.size = prng_below(&p, entry.size + 1);
        CU_ASSERT_EQUAL_FATAL(fs_apply(m.fs, ++m.index, 1, bytes_slice(&entry), &m.result), 0);
    }
    CU_ASSERT_EQUAL(fs_commit_batch(m.fs), 0);
    CU_ASSERT_EQUAL(fs_view_renew(m.view), 0);
    machine_check(&m);
    bytes_release(&entry);
    machine_stop(&m);
}

#define TESTS(T)                          \
    T(random_operations_follow_the_model) \
    T(stores_are_equal)                   \
    T(snapshot_carries_everything)        \
    T(reopen_goes_on_from_applied)        \
    T(hashes_agree_and_differ)            \
    T(garbage_never_crashes)

CU_TestInfo state_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {{"fs/operations", NULL, NULL, NULL, NULL, operation_tests},
                             {"fs/space", NULL, NULL, NULL, NULL, space_tests},
                             {"fs/state", NULL, NULL, NULL, NULL, state_tests},
                             {"fs/check", NULL, NULL, NULL, NULL, check_tests},
                             {"fs/job", NULL, NULL, NULL, NULL, job_tests},
                             {"fs/drains", NULL, NULL, NULL, NULL, drain_tests},
                             {"fs/load", NULL, NULL, NULL, NULL, load_tests},
                             CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
