/* Field types shared by all messages, and the enums whose values travel on the wire. */
#ifndef CAIRN_WIRE_TYPES_H
#define CAIRN_WIRE_TYPES_H

#include <stdint.h>

#include "common/base/checksum.h"
#include "common/base/chunk.h"
#include "common/base/slice.h"

enum { WIRE_VERSION = 1 };

enum wire_role { ROLE_CLIENT = 1, ROLE_ADMIN, ROLE_META, ROLE_CHUNK };

typedef uint8_t wire_u8;
typedef uint16_t wire_u16;
typedef uint32_t wire_u32;
typedef uint64_t wire_u64;
typedef int64_t wire_i64;
typedef struct uuid wire_uuid;
typedef struct slice wire_str;  /* at most 65,535 bytes, no terminator; borrows the frame's body */
typedef struct slice wire_blob; /* at most 16 MiB; borrows the frame's body */
typedef struct chunk_id wire_chunk;

/* Who asks, and the identity of the request for exactly-once execution. */
struct wire_caller {
    uint64_t session;
    uint64_t sequence;          /* of this request, from 1; 0 for reads */
    uint64_t lowest_unanswered; /* answers below it may be forgotten */
    uint32_t uid, gid;
    struct slice groups; /* supplementary groups: little-endian u32 each */
};
typedef struct wire_caller wire_caller;

enum inode_type { /* the S_IFMT bits of mode say it; this is its short form */
                  INODE_FILE = 1,
                  INODE_DIRECTORY,
                  INODE_SYMLINK,
                  INODE_FIFO,
                  INODE_SOCKET,
                  INODE_CHARACTER,
                  INODE_BLOCK,
};

struct wire_attr {
    uint64_t inode; /* 0 = none */
    uint32_t mode;  /* with S_IFMT */
    uint32_t nlink;
    uint32_t uid, gid;
    uint32_t rdev;
    uint64_t size;
    int64_t atime_ns, mtime_ns, ctime_ns;
    uint64_t version;          /* raft index of the last change of attributes or contents */
    uint64_t data_version;     /* raft index of the last change of contents: kernel pages stay valid
                                  while equal */
    uint32_t chunk_generation; /* generation of chunks that come into being now */
    uint8_t copies;
};
typedef struct wire_attr wire_attr;

/* Which shard, and which chain the sender believes in. */
struct wire_shardref {
    uint8_t copies;
    uint32_t shard;
    uint64_t epoch;
};
typedef struct wire_shardref wire_shardref;

/* A list of records. To encode: point `items` at an array of the record's struct. After decoding:
 * items is NULL and the *_next function of the record walks `raw`, which is already validated. */
struct wire_list {
    uint32_t count;
    const void *items;
    struct slice raw;
};

enum setattr_valid {
    SETATTR_MODE = 1u << 0,
    SETATTR_UID = 1u << 1,
    SETATTR_GID = 1u << 2,
    SETATTR_SIZE = 1u << 3,
    SETATTR_ATIME = 1u << 4,
    SETATTR_MTIME = 1u << 5,
    SETATTR_ATIME_NOW = 1u << 6,
    SETATTR_MTIME_NOW = 1u << 7,
    SETATTR_KILL_SUID = 1u << 8, /* clear set-id bits as a write by an unprivileged user does */
};

enum open_flags {
    OPEN_READ = 1u << 0,
    OPEN_WRITE = 1u << 1,
    OPEN_EXCLUSIVE = 1u << 2, /* create: fail when the name exists */
    OPEN_TRUNCATE = 1u << 3,
    OPEN_EXECUTE = 1u << 4,
};

enum rename_flags { RENAME_FLAG_NOREPLACE = 1u << 0, RENAME_FLAG_EXCHANGE = 1u << 1 };

/* Of meta_change: a learner more, a learner becomes a voter, one less. */
enum meta_change_kind { META_CHANGE_ADD = 1, META_CHANGE_PROMOTE, META_CHANGE_REMOVE };

/* Room on a metaserver's disk: what is refused at each is in metaserver/space.c. */
enum space_level { SPACE_OK, SPACE_LOW, SPACE_SHORT, SPACE_NONE, SPACE_UNHEARD };
enum member_role { MEMBER_FOLLOWER = 1, MEMBER_CANDIDATE, MEMBER_LEADER };
/* What an operator wants of a target. DRAINING: it keeps nothing, its slots move to others.
 * MAINTENANCE: it may be away for a while, its slots are not given to others meanwhile. */
enum target_admin { TARGET_ACTIVE = 0, TARGET_DRAINING = 1, TARGET_MAINTENANCE = 2 };
/* Of shards_form. WALK: ring_form, hosts only. PLAN: placement_plan, with zones and racks. */
enum form_way { FORM_WALK = 0, FORM_PLAN = 1 };
enum job_kind { JOB_DRAIN = 1, JOB_COPIES };
enum job_state { JOB_RUNNING = 1, JOB_PAUSED, JOB_DONE, JOB_CANCELLED };
enum job_action { JOB_RATE = 1, JOB_PAUSE, JOB_RESUME, JOB_CANCEL };
/* Why a slot cannot move now. NO_TARGET: no other target may take it. NO_ROOM: those that may are
 * full. NO_SOURCE: no in-sync copy is up. REPAIR: another copy of its shard is being made first.
 * STORM: too many servers are away. FILE_OPEN: a file is open for writing. */
enum job_reason {
    JOB_NO_TARGET = 1,
    JOB_NO_ROOM,
    JOB_NO_SOURCE,
    JOB_REPAIR,
    JOB_STORM,
    JOB_FILE_OPEN
};
/* SPACE: bytes needed, bytes free on the others. SERVERS: copies wanted, servers that stay.
 * COPIES: the same for the files with so many copies. FULLEST: thousandths of the fullest target
 * afterwards, and how much it may be. LAST_COPY: shards of which the only good copy is there. */
enum job_check_kind {
    JOB_CHECK_SPACE = 1,
    JOB_CHECK_SERVERS,
    JOB_CHECK_COPIES,
    JOB_CHECK_ZONES,
    JOB_CHECK_FULLEST,
    JOB_CHECK_LAST_COPY
};
enum target_state { TARGET_UP = 1, TARGET_DOWN, TARGET_OUT, TARGET_FAILED };
/* LEAVING: in sync and written like the others, but it reads no more; its successor is in sync. */
enum slot_state { SLOT_OFFLINE = 0, SLOT_SYNCING = 1, SLOT_INSYNC = 2, SLOT_LEAVING = 3 };
/* LEFT: a leaving target about itself, that it has stopped reading. */
enum shard_report_kind { REPORT_SYNCED = 1, REPORT_OUT_OF_SYNC, REPORT_LEFT };

enum chunk_write_flags { CHUNK_WRITE_CREATE = 1u << 0, CHUNK_WRITE_SYNC = 1u << 1 };
enum chunk_change_kind { CHANGE_TRUNCATE = 1, CHANGE_ZERO, CHANGE_SYNC, CHANGE_DELETE };
enum chain_kind { CHAIN_WRITE = 1, CHAIN_TRUNCATE, CHAIN_ZERO, CHAIN_SYNC, CHAIN_DELETE };

enum {
    NAME_LENGTH_MAX = 255,
    LINK_TARGET_MAX = 4095,
    COPIES_MAX = 5,
    GROUPS_MAX = 256,
    ROOT_INODE = 1,
};

#endif
