/* Names, attributes and open files of a client against a fake metaserver. */
#include "tests/unit/common/client/fixture.h"

#include <string.h>
#include <sys/stat.h>

/* A looked-up name is answered from the cache; own changes are known without asking. */
static void names_are_cached(void)
{
    CU_ASSERT_EQUAL(fx_lookup(ROOT_INODE, "a"), -ERR_NO_ENTRY);
    CU_ASSERT(fx.valid_ms > 0);
    CU_ASSERT_EQUAL(fx_lookup(ROOT_INODE, "a"), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(fx.meta->calls[MSG_meta_lookup], 1);
    CU_ASSERT_EQUAL(fx_mkdir(ROOT_INODE, "a"), 0);
    uint64_t inode = fx.attr.inode;
    CU_ASSERT_EQUAL(fx_lookup(ROOT_INODE, "a"), 0);
    CU_ASSERT_EQUAL(fx.attr.inode, inode);
    client_rename(fx.client, &root, ROOT_INODE, slice_str("a"), ROOT_INODE, slice_str("b"), 0,
                  fx_on_attr, NULL);
    CU_ASSERT_EQUAL(fx_wait(), 0);
    CU_ASSERT_EQUAL(fx_lookup(ROOT_INODE, "a"), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(fx_lookup(ROOT_INODE, "b"), 0);
    client_rmdir(fx.client, &root, ROOT_INODE, slice_str("b"), fx_on_attr, NULL);
    CU_ASSERT_EQUAL(fx_wait(), 0);
    CU_ASSERT_EQUAL(fx_lookup(ROOT_INODE, "b"), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(fx.meta->calls[MSG_meta_lookup], 1);
    CU_ASSERT_EQUAL(fx_lookup(ROOT_INODE, "a name that another one makes"), -ERR_NO_ENTRY);
}

/* Times and links of a directory follow own changes in it at once, without an rpc. */
static void parents_follow(void)
{
    CU_ASSERT_EQUAL(fx_getattr(ROOT_INODE), 0);
    struct wire_attr before = fx.attr;
    CU_ASSERT_EQUAL(fx_mkdir(ROOT_INODE, "d"), 0);
    struct wire_attr made = fx.attr;
    CU_ASSERT_EQUAL(fx_getattr(ROOT_INODE), 0);
    CU_ASSERT_EQUAL(fx.attr.mtime_ns, made.ctime_ns);
    CU_ASSERT_EQUAL(fx.attr.nlink, before.nlink + 1);
    CU_ASSERT_EQUAL(fx.meta->calls[MSG_meta_getattr], 1);
}

/* R22: an answer that is lost with its connection is asked for again with the same sequence, and
 * the operation takes effect once. */
static void lost_answers_run_once(void)
{
    for (unsigned i = 0; i < 5; i++) {
        char name[] = {'x', (char)('0' + i), 0};
        fx.meta->lose_answers = 1;
        CU_ASSERT_EQUAL(fx_mkdir(ROOT_INODE, name), 0);
    }
    CU_ASSERT_EQUAL(fx.meta->executed, 5);
    CU_ASSERT_EQUAL(fx.meta->repeated, 5);
    CU_ASSERT_EQUAL(fx.meta->lowest_wrong, 0);
}

/* What is answered is no longer asked to be kept: lowest_unanswered follows. */
static void window_moves(void)
{
    for (unsigned i = 0; i < 10; i++) {
        char name[] = {'w', (char)('0' + i), 0};
        CU_ASSERT_EQUAL(fx_mkdir(ROOT_INODE, name), 0);
    }
    CU_ASSERT_EQUAL(fx.meta->last_sequence, 10);
    CU_ASSERT_EQUAL(fx.meta->last_lowest, 10);
}

/* A busy leader is waited for; a mute one ends with a time-out at the deadline (P6). */
static void busy_and_mute(void)
{
    fx.meta->fail_status = -ERR_BUSY;
    fx.meta->fail_count = 3;
    CU_ASSERT_EQUAL(fx_mkdir(ROOT_INODE, "busy"), 0);
    CU_ASSERT_EQUAL(fx.meta->fail_count, 0);
    uint64_t start_ms = loop_now_ms();
    fx.meta->mute = true;
    CU_ASSERT_EQUAL(fx_mkdir(ROOT_INODE, "mute"), -ERR_TIMEOUT);
    uint64_t took_ms = loop_now_ms() - start_ms;
    CU_ASSERT(took_ms >= 2900 && took_ms < 4000);
    fx.meta->mute = false;
}

/* create is one rpc that opens; writes are seen at once; flush commits the size; release is told.
 */
static void create_write_flush_release(void)
{
    CU_ASSERT_EQUAL(fx_create(ROOT_INODE, "f"), 0);
    struct client_handle *h = fx.opened.handle;
    uint64_t inode = client_handle_inode(h);
    CU_ASSERT_TRUE(fx.opened.created);
    CU_ASSERT_EQUAL(fx.meta->calls[MSG_meta_open], 0);
    CU_ASSERT_EQUAL(fx.meta->inodes[inode].opens, 1);
    CU_ASSERT_EQUAL(fx_write(h, 0, "hello"), 0);
    CU_ASSERT_TRUE(client_handle_dirty(h));
    CU_ASSERT_EQUAL(fx_getattr(inode), 0);
    CU_ASSERT_EQUAL(fx.attr.size, 5);
    CU_ASSERT_EQUAL(fx.meta->inodes[inode].attr.size, 0);
    int64_t mtime_ns = fx.attr.mtime_ns;
    CU_ASSERT_EQUAL(fx_flush(h), 0);
    CU_ASSERT_FALSE(client_handle_dirty(h));
    CU_ASSERT_EQUAL(fx.meta->inodes[inode].attr.size, 5);
    CU_ASSERT_EQUAL(fx_getattr(inode), 0);
    CU_ASSERT_EQUAL(fx.attr.mtime_ns, mtime_ns);
    client_release(h);
    fx_sleep_ms(CLIENT_RELEASE_MS + 30);
    CU_ASSERT_EQUAL(fx.meta->inodes[inode].opens, 0);
    CU_ASSERT_EQUAL(fx.client->files.count, 0);
}

/* Close-to-open: pages stay over own writes, not over somebody else's; changed attributes are
 * pointed out. */
static void pages_and_other_writers(void)
{
    CU_ASSERT_EQUAL(fx_create(ROOT_INODE, "f"), 0);
    struct client_handle *h = fx.opened.handle;
    uint64_t inode = client_handle_inode(h);
    CU_ASSERT_EQUAL(fx_write(h, 0, "hello"), 0);
    CU_ASSERT_EQUAL(fx_flush(h), 0);
    client_release(h);
    CU_ASSERT_EQUAL(fx_open(inode, OPEN_READ), 0);
    CU_ASSERT_TRUE(fx.opened.keep_pages);
    CU_ASSERT_FALSE(fx.opened.attr_changed);
    client_release(fx.opened.handle);
    fake_meta_touch(fx.meta, inode, 7);
    CU_ASSERT_EQUAL(fx_open(inode, OPEN_READ), 0);
    CU_ASSERT_FALSE(fx.opened.keep_pages);
    CU_ASSERT_TRUE(fx.opened.attr_changed);
    CU_ASSERT_EQUAL(fx.opened.attr.size, 7);
    h = fx.opened.handle;
    /* Somebody else writes between this open and our own commit. */
    CU_ASSERT_EQUAL(fx_open(inode, OPEN_WRITE), 0);
    CU_ASSERT_TRUE(fx.opened.keep_pages);
    struct client_handle *w = fx.opened.handle;
    fake_meta_touch(fx.meta, inode, 9);
    CU_ASSERT_EQUAL(fx_write(w, 0, "HELLO"), 0);
    CU_ASSERT_EQUAL(fx_flush(w), 0);
    client_release(w);
    client_release(h);
    CU_ASSERT_EQUAL(fx_open(inode, OPEN_READ), 0);
    CU_ASSERT_FALSE(fx.opened.keep_pages);
    client_release(fx.opened.handle);
}

/* A long chunk map is fetched in pieces before the open is answered. */
static void long_chunk_maps(void)
{
    uint64_t inode = fake_meta_make(fx.meta, ROOT_INODE, "long", S_IFREG | 0644);
    fx.meta->inodes[inode].chunk_count = 500;
    fx.meta->chunks_first_max = 16;
    CU_ASSERT_EQUAL(fx_open(inode, OPEN_READ), 0);
    struct client_file *f = file_find(fx.client, inode);
    uint32_t generation = 0;
    CU_ASSERT_EQUAL(f->chunks.count, 500);
    CU_ASSERT_TRUE(file_chunk(f, 499, &generation));
    CU_ASSERT_EQUAL(generation, 1);
    CU_ASSERT_FALSE(file_chunk(f, 500, &generation));
    CU_ASSERT(fx.meta->calls[MSG_meta_chunks] >= 8);
    unsigned calls = fx.meta->calls[MSG_meta_chunks];
    struct client_handle *h = fx.opened.handle;
    CU_ASSERT_EQUAL(fx_open(inode, OPEN_READ), 0); /* same version: the map is kept */
    CU_ASSERT_EQUAL(fx.meta->calls[MSG_meta_chunks], calls);
    client_release(fx.opened.handle);
    client_release(h);
}

/* An unlinked file lives while it is open. */
static void unlinked_open_files(void)
{
    CU_ASSERT_EQUAL(fx_create(ROOT_INODE, "gone"), 0);
    struct client_handle *h = fx.opened.handle;
    uint64_t inode = client_handle_inode(h);
    CU_ASSERT_EQUAL(fx_unlink(ROOT_INODE, "gone"), 0);
    CU_ASSERT_EQUAL(fx.attr.nlink, 0);
    CU_ASSERT_EQUAL(fx_getattr(inode), 0);
    CU_ASSERT_EQUAL(fx.attr.nlink, 0);
    CU_ASSERT_EQUAL(fx_write(h, 0, "still here"), 0);
    CU_ASSERT_EQUAL(fx_flush(h), 0);
    client_release(h);
}

static void on_entries(void *arg, int status, const struct client_dirent *entries, unsigned count,
                       bool end)
{
    uint64_t *cookie = arg;
    static unsigned total;
    if (*cookie == 0)
        total = 0;
    total += count;
    if (count != 0)
        *cookie = entries[count - 1].cookie;
    fx.valid_ms = end ? total : UINT32_MAX;
    fx_on_done(NULL, status);
}

/* A directory is read in batches that go on by cookie, each entry once. */
static void readdir_in_batches(void)
{
    uint64_t cookie = 0;
    for (unsigned i = 0; i < 1200; i++) {
        char name[16] = {'f', (char)('a' + i / 100), (char)('0' + i / 10 % 10),
                         (char)('0' + i % 10), 0};
        (void)fake_meta_make(fx.meta, ROOT_INODE, name, S_IFREG | 0644);
    }
    do {
        client_readdir(fx.client, &root, ROOT_INODE, cookie, 8192, on_entries, &cookie);
        CU_ASSERT_EQUAL_FATAL(fx_wait(), 0);
    } while (fx.valid_ms == UINT32_MAX);
    CU_ASSERT_EQUAL(fx.valid_ms, 1200);
}

/* D11: a failed write-back is reported once by each handle that was open, and not by later ones. */
static void errors_are_sticky(void)
{
    CU_ASSERT_EQUAL(fx_create(ROOT_INODE, "e"), 0);
    struct client_handle *first = fx.opened.handle;
    CU_ASSERT_EQUAL(fx_open(client_handle_inode(first), OPEN_READ), 0);
    struct client_handle *second = fx.opened.handle;
    CU_ASSERT_EQUAL(fx_write(first, 0, "x"), 0);
    fx.meta->fail_status = -ERR_NO_SPACE;
    fx.meta->fail_code = MSG_meta_commit;
    fx.meta->fail_count = 1;
    CU_ASSERT_EQUAL(fx_flush(first), -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(fx_flush(first), 0);
    CU_ASSERT_EQUAL(fx_flush(second), -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(fx_open(client_handle_inode(first), OPEN_READ), 0);
    CU_ASSERT_EQUAL(fx_flush(fx.opened.handle), 0);
    client_release(fx.opened.handle);
    client_release(first);
    client_release(second);
}

/* truncate by path works on a file that is not open here, and sizes agree afterwards. */
static void truncate_by_path(void)
{
    uint64_t inode = fake_meta_make(fx.meta, ROOT_INODE, "t", S_IFREG | 0644);
    fake_meta_touch(fx.meta, inode, 100);
    client_setattr(
        fx.client, &root, inode, NULL,
        &(struct client_setattr){.valid = SETATTR_SIZE | SETATTR_MODE, .size = 40, .mode = 0600},
        fx_on_attr, NULL);
    CU_ASSERT_EQUAL(fx_wait(), 0);
    CU_ASSERT_EQUAL(fx.attr.size, 40);
    CU_ASSERT_EQUAL(fx.attr.mode, S_IFREG | 0600);
    CU_ASSERT_EQUAL(fx.meta->inodes[inode].attr.size, 40);
    CU_ASSERT_EQUAL(fx.client->files.count, 0);
}

#define TESTS(T)                  \
    T(names_are_cached)           \
    T(parents_follow)             \
    T(lost_answers_run_once)      \
    T(window_moves)               \
    T(busy_and_mute)              \
    T(create_write_flush_release) \
    T(pages_and_other_writers)    \
    T(long_chunk_maps)            \
    T(unlinked_open_files)        \
    T(readdir_in_batches)         \
    T(errors_are_sticky)          \
    T(truncate_by_path)
CU_TestInfo tests_client[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
