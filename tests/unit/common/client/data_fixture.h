/* A client on the fake cluster, and calls that wait. */
#ifndef CAIRN_TESTS_DATA_FIXTURE_H
#define CAIRN_TESTS_DATA_FIXTURE_H

#include "common/client/client_private.h"
#include "tests/lib/tap.h"
#include "tests/unit/common/client/fake_cluster.h"

struct data_fixture {
    struct loop *loop;
    struct fake_cluster *cluster;
    struct client *client;
    struct client_handle *handle; /* of the last create or open */
    unsigned pending;             /* calls that have not ended */
    int status;                   /* of the last one that ended */
    int worst;                    /* the first error of any */
    uint8_t *read_data;           /* the last read */
    size_t read_size;
    uint64_t seed;
};

extern struct data_fixture df;
extern CU_TestInfo tests_copies[], tests_data[], tests_data_faults[], tests_data_model[];

void data_setup(void);
void data_teardown(void);
/* Other limits than the defaults. */
void data_setup_with(uint64_t write_buffer_bytes, unsigned deadline_ms);
/* Runs the loop until nothing is pending, at most 40 s; the last status. */
int data_wait(void);
void data_sleep_ms(unsigned ms);
/* Counts a call as pending; pass the callbacks below. */
void data_begin(void);
void data_on_done(void *arg, int status);
void data_on_attr(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms);

void data_create(const char *name);
void data_open(uint64_t inode);
/* size bytes of a pattern that depends on the seed. */
struct buf *data_pattern(size_t size, uint64_t seed);
int data_write(uint64_t offset, size_t size, uint64_t seed);
int data_read(uint64_t offset, size_t size);
int data_flush(void);
int data_fsync(void);
int data_truncate(uint64_t size);
/* What was read equals the pattern, from `at` of the answer on. */
bool data_is_pattern(size_t at, size_t size, uint64_t seed);
bool data_is_zero(size_t at, size_t size);

#endif
