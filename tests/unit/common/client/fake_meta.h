/* A metaserver of one process for the tests of the client: a small namespace in memory behind a
 * real rpc_server, on the test's own loop. Not a model of permissions. */
#ifndef CAIRN_TESTS_FAKE_META_H
#define CAIRN_TESTS_FAKE_META_H

#include "common/net/rpc_server.h"
#include "common/wire/codec.h"

enum { FAKE_INODES = 4096, FAKE_NAMES = 4096, FAKE_ANSWERS = 256 };

struct fake_name {
    uint64_t parent, inode; /* inode 0 = free */
    char name[NAME_LENGTH_MAX + 1];
};

struct fake_inode {
    struct wire_attr attr;
    char target[256];
    unsigned opens;
    unsigned chunk_count; /* chunks 0 .. chunk_count-1, all of generation 1 */
};

struct fake_answer {
    uint64_t session, sequence;
    uint16_t code;
    int status;
    struct bytes body;
};

struct fake_meta {
    struct loop *loop;
    struct rpc_server *server;
    struct rpc_identity identity;
    uint64_t index, session, sessions_opened, table_version;
    struct fake_inode inodes[FAKE_INODES]; /* by number; 0 is unused */
    uint64_t inode_count;
    struct fake_name names[FAKE_NAMES];
    struct fake_answer answers[FAKE_ANSWERS];
    unsigned answer_count;

    /* what was seen */
    unsigned calls[0x10000];
    unsigned executed, repeated;
    uint64_t last_sequence, last_lowest;
    uint64_t lowest_wrong; /* requests whose lowest_unanswered was above their sequence */
    unsigned reclaims, reclaimed_inodes;

    /* what to do wrong */
    int fail_status;    /* answers the next fail_count requests with this */
    uint16_t fail_code; /* only of this code; 0 = any but sessions */
    unsigned fail_count;
    unsigned
        lose_answers; /* executes the next changes and cuts the connection instead of answering */
    bool mute;        /* answers nothing at all */
    bool want_reclaim;
    unsigned chunks_first_max; /* slots in the answer to open; 0 = all */
};

struct fake_meta *fake_meta_create(struct loop *loop);
void fake_meta_destroy(struct fake_meta *m);
/* The session is gone: its next request hears so. */
void fake_meta_expire(struct fake_meta *m);
/* Changes made behind the client's back. */
uint64_t fake_meta_make(struct fake_meta *m, uint64_t parent, const char *name, uint32_t mode);
void fake_meta_touch(struct fake_meta *m, uint64_t inode, uint64_t size);
uint64_t fake_meta_find(struct fake_meta *m, uint64_t parent, const char *name);

#endif
