/* Fills metaservers with many small files past FUSE and network, and asks the state machine in
 * process. For tests/bench/meta.sh:
 *   meta-load load FOLDER FILES        FOLDER/database and FOLDER/checkpoints with that many files
 *   meta-load node FOLDER ID           a metaserver's log that goes on behind that checkpoint, in
 *                                      FOLDER/mID/log
 *   meta-load query FOLDER FILES THREADS SECONDS    look-ups and getattrs, random, on views */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base/check.h"
#include "common/base/prng.h"
#include "metaserver/checkpoint_store.h"
#include "metaserver/fs/fs.h"
#include "metaserver/log_store.h"
#include "tests/bench/meta_names.h"

enum { BATCH = 256, PATH_SIZE = 4096, PART_SIZE = 256 << 10, ROUND = 4096 };

struct load {
    struct fs *fs;
    struct bytes envelope, body;
    struct fs_result result;
    uint64_t index, session, sequence;
};

static double now_s(clockid_t clock)
{
    struct timespec t;
    CHECK(clock_gettime(clock, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void path_of(char ret_path[PATH_SIZE], const char *folder, const char *name)
{
    int size = snprintf(ret_path, PATH_SIZE, "%s/%s", folder, name);
    CHECK(size > 0 && size < PATH_SIZE);
}

static struct fs *open_state(const char *folder)
{
    char path[PATH_SIZE];
    struct kv *kv;
    struct fs *fs;
    path_of(path, folder, "database");
    CHECK(mkdir(path, 0750) == 0 || errno == EEXIST);
    CHECK(kv_lmdb_open(path, 64ull << 30, &kv) == 0);
    CHECK(fs_open(kv, &fs) == 0);
    return fs;
}

/* ---- loading ---- */

static void apply(struct load *l, uint16_t code)
{
    struct fs_command c = {.code = code,
                           .time_ns = (int64_t)(1700000000ull * 1000000000 + l->index * 1000),
                           .body = bytes_slice(&l->body)};
    bytes_clear(&l->envelope);
    fs_command_encode(&c, &l->envelope);
    CHECK(fs_apply(l->fs, ++l->index, 1, bytes_slice(&l->envelope), &l->result) == 0);
    CHECK(l->result.status == 0);
    bytes_clear(&l->body);
}

static struct wire_caller caller(struct load *l)
{
    l->sequence++;
    return (struct wire_caller){
        .session = l->session, .sequence = l->sequence, .lowest_unanswered = l->sequence};
}

static void begin_cluster(struct load *l)
{
    struct msg_session_open_r r;
    CHECK(fs_begin_batch(l->fs) == 0);
    struct msg_cluster_init init = {.copies = 2, .shard_count = 1024, .initial_targets = 2};
    CHECK(uuid_parse(META_CLUSTER, &init.cluster) == 0);
    encode_cluster_init(&l->body, &init);
    apply(l, MSG_cluster_init);
    encode_session_open(&l->body, &(struct msg_session_open){.name = slice_str("loader")});
    apply(l, MSG_session_open);
    CHECK(decode_session_open_r(l->result.body, WIRE_VERSION, &r) == 0);
    l->session = r.session;
    CHECK(fs_commit_batch(l->fs) == 0);
}

static void make_directory(struct load *l, uint64_t file)
{
    char name[32];
    struct msg_meta_entry_r r;
    (void)snprintf(name, sizeof name, "d%llu", (unsigned long long)file / META_DIRECTORY_FILES);
    encode_meta_mkdir(&l->body, &(struct msg_meta_mkdir){.caller = caller(l),
                                                         .parent = ROOT_INODE,
                                                         .name = slice_str(name),
                                                         .mode = 0755});
    apply(l, MSG_meta_mkdir);
    CHECK(decode_meta_entry_r(l->result.body, WIRE_VERSION, &r) == 0);
    CHECK(r.attr.inode == meta_directory_inode(file));
}

/* A file of one chunk, in two entries as a client makes it. */
static void make_file(struct load *l, uint64_t file)
{
    char name[META_NAME_SIZE];
    struct msg_meta_open_r r;
    struct rec_chunk_slot slot = {.index = 0, .generation = 1};
    encode_meta_create(&l->body, &(struct msg_meta_create){.caller = caller(l),
                                                           .parent = meta_directory_inode(file),
                                                           .name = meta_file_name(file, name),
                                                           .mode = 0644});
    apply(l, MSG_meta_create);
    CHECK(decode_meta_open_r(l->result.body, WIRE_VERSION, &r) == 0);
    CHECK(r.attr.inode == meta_file_inode(file));
    encode_meta_commit(&l->body, &(struct msg_meta_commit){.caller = caller(l),
                                                           .inode = r.attr.inode,
                                                           .size_min = 4096,
                                                           .mtime_ns = INT64_MIN,
                                                           .added = {.count = 1, .items = &slot}});
    apply(l, MSG_meta_commit);
}

static int produce(void *arg, struct checkpoint_writer *writer)
{
    struct bytes part = {0};
    int more;
    int status;
    do {
        bytes_clear(&part);
        more = fs_snapshot_next(arg, PART_SIZE, &part);
        status = more < 0 ? more : checkpoint_put(writer, part.data, part.size);
    } while (status == 0 && more);
    bytes_release(&part);
    return status;
}

static void write_checkpoint(struct load *l, const char *folder)
{
    char path[PATH_SIZE];
    struct uuid cluster;
    struct checkpoint_store *store;
    struct checkpoint_id id;
    struct fs_view *view;
    struct fs_snapshot *snapshot;
    struct err_text why = {""};
    path_of(path, folder, "checkpoints");
    CHECK(uuid_parse(META_CLUSTER, &cluster) == 0);
    CHECK(checkpoint_store_open(path, &cluster, 1, &store, &why) == 0);
    CHECK(fs_view_begin(l->fs, &view) == 0);
    CHECK(fs_snapshot_begin(view, slice_of("", 0), &snapshot) == 0);
    fs_snapshot_position(snapshot, &id.index, &id.term);
    CHECK(checkpoint_store_write(store, id, produce, snapshot, &why) == 0);
    fs_snapshot_end(snapshot);
    fs_view_end(view);
    checkpoint_store_close(store);
}

static int load(const char *folder, uint64_t files)
{
    struct load l = {0};
    struct fs_status status;
    CHECK(mkdir(folder, 0750) == 0 || errno == EEXIST);
    l.fs = open_state(folder);
    fs_get_status(l.fs, &status);
    if (status.applied_index != 0)
        return fprintf(stderr, "meta-load: %s/database is not empty\n", folder), 1;
    begin_cluster(&l);
    double cpu = now_s(CLOCK_PROCESS_CPUTIME_ID);
    for (uint64_t i = 0; i < files;) {
        CHECK(fs_begin_batch(l.fs) == 0);
        for (unsigned k = 0; k < BATCH && i < files; k++, i++) {
            if (i % META_DIRECTORY_FILES == 0)
                make_directory(&l, i);
            make_file(&l, i);
        }
        CHECK(fs_commit_batch(l.fs) == 0);
    }
    cpu = now_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    fs_get_status(l.fs, &status);
    printf("files                                   %llu\n", (unsigned long long)files);
    printf("apply, create + commit of one chunk     %.2f CPU-us\n", cpu * 1e6 / (double)files);
    printf("database                                %.1f bytes per file\n",
           (double)status.store_bytes / (double)files);
    cpu = now_s(CLOCK_PROCESS_CPUTIME_ID);
    write_checkpoint(&l, folder);
    printf("checkpoint, written and verified        %.1f CPU-s\n",
           now_s(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    fs_close(l.fs);
    bytes_release(&l.envelope);
    bytes_release(&l.body);
    return 0;
}

/* ---- a node ---- */

static int node(const char *folder, uint32_t id)
{
    char path[PATH_SIZE];
    struct uuid cluster;
    struct log_store_options options;
    struct log_store *log;
    struct fs_status status;
    struct err_text why = {""};
    struct fs *fs = open_state(folder);
    fs_get_status(fs, &status);
    fs_close(fs);
    int size = snprintf(path, sizeof path, "%s/m%u/log", folder, id);
    CHECK(size > 0 && size < PATH_SIZE && uuid_parse(META_CLUSTER, &cluster) == 0);
    log_store_options_defaults(&options);
    options.create = true;
    CHECK(log_store_open(path, &cluster, id, &options, &log, NULL, &why) == 0);
    CHECK(log_store_set_vote(log, status.applied_term, 0) == 0);
    CHECK(log_store_reset(log, status.applied_index, status.applied_term) == 0);
    log_store_close(log);
    return 0;
}

/* ---- queries ---- */

enum asked { ASK_LOOKUP, ASK_GETATTR, ASK_KINDS };

struct asker {
    pthread_t thread;
    struct fs *fs;
    struct fs_view *view;
    enum asked what;
    uint64_t files, done;
    double seconds, cpu_s;
    struct prng prng;
    struct bytes body, out;
};

/* From the bytes of a request to the bytes of its reply. */
static void ask_one(struct asker *a)
{
    char name[META_NAME_SIZE];
    uint16_t code = a->what == ASK_LOOKUP ? MSG_meta_lookup : MSG_meta_getattr;
    uint64_t file = prng_below(&a->prng, a->files);
    bytes_clear(&a->body);
    bytes_clear(&a->out);
    if (a->what == ASK_LOOKUP)
        encode_meta_lookup(&a->body, &(struct msg_meta_lookup){.parent = meta_directory_inode(file),
                                                               .name = meta_file_name(file, name)});
    else
        encode_meta_getattr(&a->body, &(struct msg_meta_getattr){.inode = meta_file_inode(file)});
    CHECK(fs_query(a->fs, a->view, code, bytes_slice(&a->body), &code, &a->out) == 0);
}

static void *ask(void *arg)
{
    struct asker *a = arg;
    double end = now_s(CLOCK_MONOTONIC) + a->seconds;
    double cpu = now_s(CLOCK_THREAD_CPUTIME_ID);
    while (now_s(CLOCK_MONOTONIC) < end) {
        for (unsigned i = 0; i < ROUND; i++)
            ask_one(a);
        a->done += ROUND;
    }
    a->cpu_s = now_s(CLOCK_THREAD_CPUTIME_ID) - cpu;
    bytes_release(&a->body);
    bytes_release(&a->out);
    return NULL;
}

static void ask_all(struct fs *fs, uint64_t files, enum asked what, unsigned threads,
                    double seconds)
{
    struct asker *askers = calloc(threads, sizeof *askers);
    uint64_t done = 0;
    double cpu = 0;
    CHECK(askers != NULL);
    for (unsigned i = 0; i < threads; i++) {
        struct asker *a = &askers[i];
        *a = (struct asker){.fs = fs, .what = what, .files = files, .seconds = seconds};
        prng_init(&a->prng, i + 1);
        CHECK(fs_view_begin(fs, &a->view) == 0);
        CHECK(pthread_create(&a->thread, NULL, ask, a) == 0);
    }
    for (unsigned i = 0; i < threads; i++) {
        CHECK(pthread_join(askers[i].thread, NULL) == 0);
        done += askers[i].done;
        cpu += askers[i].cpu_s;
        fs_view_end(askers[i].view);
    }
    printf("%s in process, %u thread(s)   %.0f/s, %.0f per CPU-second\n",
           what == ASK_LOOKUP ? "look-up with attributes" : "getattr                ", threads,
           (double)done / seconds, (double)done / cpu);
    free(askers);
}

static int query(const char *folder, uint64_t files, unsigned threads, double seconds)
{
    struct fs *fs = open_state(folder);
    for (enum asked what = ASK_LOOKUP; what < ASK_KINDS; what++)
        ask_all(fs, files, what, threads, seconds);
    fs_close(fs);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "load") == 0 && argc == 4)
        return load(argv[2], strtoull(argv[3], NULL, 10));
    if (strcmp(what, "node") == 0 && argc == 4)
        return node(argv[2], (uint32_t)strtoul(argv[3], NULL, 10));
    if (strcmp(what, "query") == 0 && argc == 6)
        return query(argv[2], strtoull(argv[3], NULL, 10), (unsigned)strtoul(argv[4], NULL, 10),
                     strtod(argv[5], NULL));
    fprintf(stderr, "meta-load load FOLDER FILES | node FOLDER ID | query FOLDER FILES THREADS "
                    "SECONDS\n");
    return 2;
}
