/* Three cairn-metaserver processes on loopback, and blocking calls to them over real rpc. */
#ifndef CAIRN_TESTS_UNIT_METASERVER_DAEMON_FIXTURE_H
#define CAIRN_TESTS_UNIT_METASERVER_DAEMON_FIXTURE_H

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/net/rpc_leader.h"
#include "common/wire/codec.h"
#include "tests/lib/tap.h"
#include "tests/unit/metaserver/faults.h"

enum { METAS = 3, CALL_MS = 10000 };

int daemons_setup(void);
/* The same with metaserver-with-faults, whose disks and clocks daemons_faults misleads. */
int daemons_setup_with_faults(void);
struct faults *daemons_faults(unsigned which);
int daemons_teardown(void);
/* Number of the leader, 0 .. METAS - 1, as `status` says; waits for one. */
unsigned daemons_leader(void);
void daemons_kill(unsigned which, int signal_number); /* and waits for its end */
void daemons_start(unsigned which);
void daemons_signal(unsigned which, int signal_number);
/* Its exit status (256 + the signal that ended it) once it has ended by itself, or -1. */
int daemons_end(unsigned which, unsigned within_ms);
/* kill -9 of the leader, and start it again. Returns when another one answers. */
void daemons_change_leader(void);
/* A metaserver without others, started twice on the same folder: it answers each time. */
bool daemons_alone_answers(void);

/* One without others, on a folder of its own: until alone_end all calls below go to it. The end is
 * as of daemons_end, after the signal if it is not 0; one that does not end is killed. */
void alone_start(void);
int alone_end(int signal_number, unsigned within_ms);
void alone_path(const char *name, char ret_path[96]); /* of a file in its folder */
const struct uuid *daemons_cluster(void);

struct answer {
    int status;
    uint16_t code;
    struct bytes body; /* of the last call; belongs to the fixture */
    char detail[240];  /* for a person, when status != 0 */
    bool is_done;
};
/* Sends `body` (released) to the leader as a client or a chunkserver and waits. */
struct answer *ask(uint16_t code, struct bytes *take_body);
struct answer *ask_as_chunkserver(uint16_t code, struct bytes *take_body);
/* Without waiting; `answer` must live until is_done. */
void ask_async(uint16_t code, struct bytes *take_body, struct answer *answer);
void wait_answer(struct answer *answer);
void pause_ms(unsigned ms);

#define ENCODE(name, out, ...)                \
    do {                                      \
        struct msg_##name m_ = {__VA_ARGS__}; \
        encode_##name((out), &m_);            \
    } while (0)
#define DECODE(name, answer, ret) decode_##name(bytes_slice(&(answer)->body), WIRE_VERSION, (ret))

/* A client's session with its own numbering. */
struct client_session {
    uint64_t id, sequence;
};
void session_begin(struct client_session *s);
struct wire_caller caller_of(struct client_session *s, bool is_change);
/* 0 or a negated err; *ret_inode of the file. */
int file_create(struct client_session *s, const char *name, uint64_t *ret_inode);
int file_unlink(struct client_session *s, const char *name);
int file_stat(uint64_t inode);
int file_release(struct client_session *s, uint64_t inode);
/* The whole set of open inodes; count 0 = none. *ret_wanted: the leader asks for it. */
int session_alive(struct client_session *s, bool is_set, const struct rec_inode_ref *set,
                  unsigned count, bool *ret_wanted);
/* True when file_stat says so within the time. */
bool becomes(uint64_t inode, bool is_there, unsigned within_ms);

int status_get(struct msg_status_r *ret);

extern CU_TestInfo daemon_job_tests[], daemon_client_tests[], daemon_target_tests[],
    daemon_expiry_tests[], daemon_space_tests[], daemon_fault_tests[], daemon_state_tests[];

#endif
