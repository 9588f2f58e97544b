/* A client, a fake metaserver and their loop; calls that wait. */
#ifndef CAIRN_TESTS_FIXTURE_H
#define CAIRN_TESTS_FIXTURE_H

#include "common/client/client_private.h"
#include "tests/unit/common/client/fake_meta.h"
#include "tests/unit/common/client/test_client.h"

struct fixture {
    struct loop *loop;
    struct fake_meta *meta;
    struct client *client;
    /* of the last callback */
    bool done;
    int status;
    struct wire_attr attr;
    unsigned valid_ms;
    struct client_opened opened;
    unsigned invalidated;
    char why[2048];
};

extern struct fixture fx;
extern const struct client_caller root;

/* Runs the loop until the callback has come (fx.done); the test fails after 20 s. */
int fx_wait(void);
void fx_sleep_ms(unsigned ms);
void fx_on_done(void *arg, int status);
void fx_on_attr(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms);
void fx_on_open(void *arg, int status, const struct client_opened *opened);

int fx_lookup(uint64_t parent, const char *name);
int fx_getattr(uint64_t inode);
int fx_mkdir(uint64_t parent, const char *name);
int fx_create(uint64_t parent, const char *name); /* the handle: fx.opened.handle */
int fx_open(uint64_t inode, uint32_t flags);
int fx_unlink(uint64_t parent, const char *name);
int fx_write(struct client_handle *h, uint64_t offset, const char *text);
int fx_flush(struct client_handle *h);

#endif
