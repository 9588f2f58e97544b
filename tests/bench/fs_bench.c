/* Speed and size of the state machine on LMDB: fs-bench FOLDER [FILES]. FOLDER is new and empty. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base/check.h"
#include "common/base/prng.h"
#include "metaserver/fs/fs.h"

enum { DIRECTORY_FILES = 1000 };

struct bench {
    struct fs *fs;
    struct bytes envelope, body;
    struct fs_result result;
    uint64_t index, session, sequence;
};

static double now_s(void)
{
    struct timespec t;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void apply(struct bench *b, uint16_t code)
{
    struct fs_command c = {
        .code = code, .time_ns = (int64_t)b->index, .body = bytes_slice(&b->body)};
    bytes_clear(&b->envelope);
    fs_command_encode(&c, &b->envelope);
    CHECK(fs_apply(b->fs, ++b->index, 1, bytes_slice(&b->envelope), &b->result) == 0);
    CHECK(b->result.status == 0);
}

static struct wire_caller caller(struct bench *b)
{
    b->sequence++;
    return (struct wire_caller){
        .session = b->session, .sequence = b->sequence, .lowest_unanswered = b->sequence};
}

static uint64_t make(struct bench *b, uint64_t parent, uint64_t number, uint32_t mode)
{
    char name[32];
    CHECK(snprintf(name, sizeof name, "file-%011llu", (unsigned long long)number) == 16);
    bytes_clear(&b->body);
    encode_meta_mknod(&b->body, &(struct msg_meta_mknod){.caller = caller(b),
                                                         .parent = parent,
                                                         .name = slice_str(name),
                                                         .mode = mode});
    apply(b, MSG_meta_mknod);
    struct msg_meta_entry_r r;
    CHECK(decode_meta_entry_r(b->result.body, WIRE_VERSION, &r) == 0);
    return r.attr.inode;
}

static void commit_first_chunk(struct bench *b, uint64_t inode)
{
    struct rec_chunk_slot slot = {.index = 0, .generation = 1};
    bytes_clear(&b->body);
    encode_meta_commit(&b->body, &(struct msg_meta_commit){.caller = caller(b),
                                                           .inode = inode,
                                                           .size_min = 4096,
                                                           .mtime_ns = INT64_MIN,
                                                           .added = {.count = 1, .items = &slot}});
    apply(b, MSG_meta_commit);
}

static void begin_cluster(struct bench *b)
{
    CHECK(fs_begin_batch(b->fs) == 0);
    encode_cluster_init(&b->body, &(struct msg_cluster_init){.copies = 3, .shard_count = 1024});
    apply(b, MSG_cluster_init);
    bytes_clear(&b->body);
    encode_session_open(&b->body, &(struct msg_session_open){.name = slice_str("bench")});
    apply(b, MSG_session_open);
    CHECK(fs_commit_batch(b->fs) == 0);
    struct msg_session_open_r r;
    CHECK(decode_session_open_r(b->result.body, WIRE_VERSION, &r) == 0);
    b->session = r.session;
}

/* Creates `count` files from number `first` on and gives their directories' inodes. */
static void create_files(struct bench *b, uint64_t first, uint64_t count, unsigned batch,
                         bool with_chunk, uint64_t *directories)
{
    double start = now_s();
    for (uint64_t i = first; i < first + count;) {
        CHECK(fs_begin_batch(b->fs) == 0);
        for (unsigned k = 0; k < batch && i < first + count; k++, i++) {
            uint64_t *directory = &directories[i / DIRECTORY_FILES];
            if (*directory == 0)
                *directory = make(b, ROOT_INODE, i, S_IFDIR | 0755);
            uint64_t inode = make(b, *directory, i, S_IFREG | 0644);
            if (with_chunk)
                commit_first_chunk(b, inode);
        }
        CHECK(fs_commit_batch(b->fs) == 0);
    }
    printf("creates%s, batches of %u: %.0f/s\n", with_chunk ? " with a chunk's commit" : "", batch,
           (double)count / (now_s() - start));
}

static void look_up(struct bench *b, uint64_t files, const uint64_t *directories)
{
    struct prng p;
    struct fs_view *view;
    struct bytes out = {0};
    uint16_t code;
    char name[32];
    const unsigned count = 1000000;
    prng_init(&p, 1);
    CHECK(fs_view_begin(b->fs, &view) == 0);
    double start = now_s();
    for (unsigned i = 0; i < count; i++) {
        uint64_t n = prng_below(&p, files);
        CHECK(snprintf(name, sizeof name, "file-%011llu", (unsigned long long)n) == 16);
        bytes_clear(&b->body);
        bytes_clear(&out);
        encode_meta_lookup(&b->body,
                           &(struct msg_meta_lookup){.parent = directories[n / DIRECTORY_FILES],
                                                     .name = slice_str(name)});
        CHECK(fs_query(b->fs, view, MSG_meta_lookup, bytes_slice(&b->body), &code, &out) == 0);
    }
    printf("lookups with attributes, from request to reply bytes: %.0f/s\n",
           count / (now_s() - start));
    fs_view_end(view);
    bytes_release(&out);
}

int main(int argc, char **argv)
{
    struct kv *kv;
    struct bench b = {0};
    uint64_t files = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    uint64_t single = files / 10;
    if (argc < 2 || files < DIRECTORY_FILES || kv_lmdb_open(argv[1], 64ull << 30, &kv) != 0) {
        fprintf(stderr, "fs-bench FOLDER [FILES >= 1000]\n");
        return 2;
    }
    uint64_t *directories = calloc(files / DIRECTORY_FILES + 1, sizeof *directories);
    CHECK(directories != NULL && fs_open(kv, &b.fs) == 0);
    begin_cluster(&b);
    create_files(&b, 0, single, 1, false, directories);
    create_files(&b, single, single, 64, true, directories);
    create_files(&b, 2 * single, files - 2 * single, 64, false, directories);
    struct fs_status s;
    fs_get_status(b.fs, &s);
    printf("%llu files: %.1f bytes per file (inode, 16-byte name, one chunk's slot)\n",
           (unsigned long long)s.file_count, (double)s.store_bytes / (double)s.file_count);
    look_up(&b, files, directories);
    double start = now_s();
    fs_close(b.fs);
    CHECK(kv_lmdb_open(argv[1], 64ull << 30, &kv) == 0 && fs_open(kv, &b.fs) == 0);
    printf("close and open again: %.1f ms\n", (now_s() - start) * 1000);
    fs_close(b.fs);
    bytes_release(&b.envelope);
    bytes_release(&b.body);
    free(directories);
    return 0;
}
