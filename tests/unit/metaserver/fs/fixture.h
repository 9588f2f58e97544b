/* A state machine to test: applies requests as the leader would. */
#ifndef CAIRN_TESTS_FS_FIXTURE_H
#define CAIRN_TESTS_FS_FIXTURE_H

#include <stdlib.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "metaserver/fs/fs.h"
#include "tests/lib/tap.h"

struct machine {
    struct fs *fs;
    struct fs_view *view;
    uint64_t index;
    int64_t now_ns;
    struct bytes envelope, body, out;
    struct slice holders;
    struct fs_result result;
    uint64_t session, sequence;
};

void machine_start(struct machine *m, struct kv *take_kv);
void machine_init_cluster(struct machine *m); /* cluster of 1 copy, 8 shards, one session */
void machine_stop(struct machine *m);
void machine_check(struct machine *m);
/* The next log entry; returns its recorded status. */
int machine_apply(struct machine *m, uint16_t code);
int machine_query(struct machine *m, uint16_t code);
struct wire_caller caller_of(struct machine *m, uint32_t uid, uint32_t gid);
/* Rows of both states are equal. */
void expect_same_rows(struct kv *a, struct kv *b);
struct kv *lmdb_in_new_folder(char ret_folder[64]);
void remove_folder(const char *folder);

/* Requests are written as their first fields, so that a test reads as a story. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define APPLY(m, name, ...)                                                                 \
    (bytes_clear(&(m)->body), encode_##name(&(m)->body, &(struct msg_##name){__VA_ARGS__}), \
     machine_apply(m, MSG_##name))
#define ASK(m, name, ...)                                                                   \
    (bytes_clear(&(m)->body), encode_##name(&(m)->body, &(struct msg_##name){__VA_ARGS__}), \
     machine_query(m, MSG_##name))
#define S(text) slice_str(text)

extern CU_TestInfo check_tests[], job_tests[], drain_tests[], load_tests[], operation_tests[],
    space_tests[], state_tests[];

#endif
