/* A cluster of Raft cores in one process, under faults, on one event queue and one generator. What
 * the cores replicate, and for whom, is a table of functions (struct machine).
 *
 * Everything follows from the seed: two runs with the same seed, event count and build are equal.
 * Time is in microseconds of the world; each node has a clock of its own in milliseconds.
 * Files: raft_sim.c runs seeds, _world.c queue and network, _node.c the driver, _disk.c its disk,
 * _fault.c what goes wrong, _member.c changes of membership, _oracle.c what must hold; _state.c and
 * _client.c are the abstract machine of sim-raft. */
#ifndef CAIRN_TESTS_SIM_RAFT_SIM_H
#define CAIRN_TESTS_SIM_RAFT_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/prng.h"
#include "metaserver/raft/raft.h"

enum {
    NODES_MAX = 12, /* ids in one run; those beyond the first members join later */
    CONFIGS_MAX = 1024,
    CLIENTS = 3,        /* numbers of clients in commands: 0..CLIENTS */
    BATCH_MAX = 8,      /* entries in a packet */
    LOG_MAX = 16384,    /* entries in one run */
    WRITES_MAX = 64,    /* writes queued at one disk; more: the oldest is done at once */
    PENDING_MAX = 4096, /* entries in them; likewise */
    PACKETS_MAX = 2048, /* in flight; more are lost */
    RECENT_MAX = 64,    /* packets that may be sent again */
    CHECKPOINTS = 2,
    TERMS_MAX = 8192,
    FACTS_MAX = 1u << 16,
};

enum { ELECTION_MS_MAX = 800, CALM_TIMEOUTS = 50 };

/* What a command does: client `client` (0 = filler) executes its operation number `sequence`. Of a
 * configuration entry `sequence` is the number of its bytes in sim.configs. */
struct command {
    uint32_t client, sequence;
};

struct entry_copy {
    uint64_t term, index;
    enum raft_entry_kind kind;
    struct command command;
};

struct packet {
    struct raft_message message;
    struct raft_entry entries[BATCH_MAX];
    bool in_use;
};

/* Where the replicated state stands, and a hash over all of it. */
struct state {
    uint64_t index, term, hash;
    uint32_t done[CLIENTS + 1]; /* abstract machine: who has done what */
    uint32_t config;   /* in force at index, by number; 0 = a new node that knows of none */
    struct buf *image; /* of a checkpoint: a reference to what the machine wrote, or NULL */
    size_t image_size;
};

struct disk_write {
    uint64_t mark_term, index_last, first, start; /* start: its place in `pending` */
    unsigned count;
};

struct disk {
    uint64_t term;
    uint32_t voted_for;
    bool joining;         /* the folder is new, the cluster is not */
    uint64_t first, last; /* durable log, first > last: empty */
    struct entry_copy log[LOG_MAX];
    struct state checkpoints[CHECKPOINTS]; /* newest first; index 0 = none */
};

struct node {
    uint32_t id;
    struct raft *raft; /* NULL: down */
    unsigned incarnation;
    struct disk *disk;
    struct state state;
    struct replica *replica; /* the machine's; survives a crash of the process */
    uint64_t commit_index, apply_index;

    /* The log writer: entries handed over and not yet durable, as the writer's copy. */
    struct entry_copy *pending; /* ring of PENDING_MAX */
    uint64_t pending_end;       /* entries ever put there */
    struct disk_write writes[WRITES_MAX];
    unsigned write_count;
    bool write_running;
    unsigned write_number; /* a completion of an earlier life or of a reset log is void */
    uint64_t slow_until_us;

    uint64_t fetch_index, fetch_term; /* running; index 0 = none */
    uint32_t fetch_from;
    unsigned fetch_number;

    uint64_t wake_us;    /* of the timer in the queue; 0 = none */
    uint64_t wake_at_ms; /* wanted by the core */
    uint64_t paused_until_us;
    int64_t clock_offset_ms;
    uint64_t clock_rate; /* per mille */
    uint64_t restart_us; /* when down */
    enum raft_role role;
    uint64_t term;
    uint64_t checkpoint_every;
    unsigned wiped;            /* how often it lost its disk */
    bool founder;              /* one of the first members */
    bool dead;                 /* for ever, unless the calm end finds it still a member */
    struct raft_config config; /* as last reported by the core */
};

enum event_kind { EV_PACKET, EV_TIMER, EV_WRITE, EV_FETCH, EV_CLIENT, EV_FAULT, EV_RESTART };

struct sim_event {
    uint64_t at_us, order;
    enum event_kind kind;
    uint32_t who, number; /* node or packet or client; incarnation, or what the client wants */
};

struct sim;

/* What is replicated and who uses it. Entries name their command by number; only the machine knows
 * what it means. */
struct machine {
    const char *name;
    unsigned client_count;
    unsigned seeds, events; /* how many when nobody says */
    /* One seed: before anything happens; when all is calm and converged; with every node gone. */
    void (*start)(struct sim *s);
    void (*judge)(struct sim *s);
    void (*release)(struct sim *s);
    bool (*report)(const struct sim *s); /* figures of all seeds; false: they are not good */
    /* The state of one node. apply brings state.hash to that of state.index, where the entry is;
     * answer comes when that was compared with the other nodes'. */
    void (*apply_begin)(struct sim *s, struct node *n);
    void (*apply)(struct sim *s, struct node *n, const struct raft_entry *entry);
    void (*answer)(struct sim *s, struct node *n, const struct raft_entry *entry);
    void (*apply_end)(struct sim *s, struct node *n);
    void (*checkpoint)(struct sim *s, struct node *n, struct state *state); /* adds the image */
    void (*load)(struct sim *s, struct node *n,
                 const struct state *checkpoint);   /* index 0: empty */
    void (*restart)(struct sim *s, struct node *n); /* the process died, its state did not */
    void (*drop)(struct node *n);
    /* Its clients. */
    void (*tick)(struct sim *s, uint32_t client, uint32_t number);
    void (*on_reads)(struct sim *s, struct node *n, const struct raft_update *u);
    void (*forget_node)(struct sim *s, const struct node *n);
    void (*calm)(struct sim *s);         /* from now on */
    bool (*served)(const struct sim *s); /* each client got through since then */
};

struct profile {
    const char *name;
    void (*draw)(struct sim *s, struct profile *p); /* fills in the rest, by the seed */
    unsigned loss, duplicate, replay;               /* per mille */
    unsigned delay_ms_max, long_delay;
    unsigned crash, partition, pause, slow_disk, transfer, isolate_leader; /* per mille of ticks */
    unsigned fault_tick_ms, client_gap_ms;
    unsigned crash_in_update; /* per 100,000 updates */
    unsigned batch_max;
    unsigned nodes;               /* 0 = chosen by the seed */
    unsigned partial_link;        /* per mille of runs whose end tries one cut link */
    unsigned change, death, wipe; /* per mille of ticks: membership, gone for good, a new disk */
    bool wild_clocks;
};

/* One fact about (kind, a, b), kept to be compared with later ones. */
struct fact {
    uint64_t generation, a, b, value;
    uint32_t kind;
};

enum fact_kind { FACT_ENTRY = 1, FACT_PREVIOUS, FACT_VOTE };

struct sim {
    uint64_t seed, events_wanted, events;
    struct prng prng;
    struct profile profile;
    bool calm; /* faults are off */
    bool failed, trace;
    const struct machine *machine;
    char why[400];

    uint64_t now_us, order;
    struct sim_event *heap;
    size_t heap_count, heap_capacity;

    unsigned node_count;
    struct raft_config config;        /* at the beginning; number 1 of configs */
    struct buf *configs[CONFIGS_MAX]; /* bytes of every configuration seen, from 1 */
    size_t config_sizes[CONFIGS_MAX];
    uint32_t config_count;
    unsigned voters_wanted;
    struct node nodes[NODES_MAX + 1]; /* by id, from 1 */
    bool cut[NODES_MAX + 1][NODES_MAX + 1];
    uint64_t heal_us;
    struct packet *packets;
    unsigned free_packets[PACKETS_MAX], free_count;
    struct packet *recent;
    unsigned recent_count;
    struct raft_options options;
    bool lease_reads, skewed_clocks;

    struct buf *commands; /* one block; each command's payload is a slice of it */

    /* The oracle. */
    uint64_t generation;
    struct fact *facts;
    uint32_t leaders[TERMS_MAX];
    uint64_t terms_used;
    struct entry_copy *committed; /* [index] */
    uint64_t *commit_terms;       /* term of the first node seen to commit [index] */
    uint64_t *hashes;             /* state after [index] */
    uint32_t *configs_at;         /* configuration in force at committed [index] */
    uint64_t committed_count, hashed_count;
    uint64_t observed_index; /* highest that a client has seen */
    uint64_t elections, commits, reads_done, lease_reads_done, installs, crashes, operations;
    uint64_t changes, joins, removed_leaders, wipes;
};

/* raft_sim.c */
__attribute__((format(printf, 2, 3))) void sim_fail(struct sim *s, const char *format, ...);
__attribute__((format(printf, 2, 3))) void sim_trace(struct sim *s, const char *format, ...);
void sim_run_for(struct sim *s, uint64_t length_us);
uint64_t sim_number(const char *name, uint64_t otherwise); /* from the environment */
int sim_main(const struct machine *machine); /* returns the exit status of the process */

/* raft_sim_world.c */
void world_push(struct sim *s, uint64_t at_us, enum event_kind kind, uint32_t who, uint32_t number);
bool world_pop(struct sim *s, struct sim_event *ret_event);
void world_send(struct sim *s, const struct raft_message *m);
uint64_t world_delay_us(struct sim *s);
void world_replay(struct sim *s);
struct packet *world_packet(struct sim *s, uint32_t number);
void world_free_packet(struct sim *s, uint32_t number);
void world_fill_commands(struct sim *s);
struct command command_of(struct sim *s, const struct raft_entry *entry);
struct raft_entry entry_of(struct sim *s, const struct entry_copy *copy);

/* raft_sim_node.c */
void node_boot(struct sim *s, struct node *n);
void node_crash(struct sim *s, struct node *n);
int node_step(struct sim *s, struct node *n, struct raft_event *event);
void node_on_timer(struct sim *s, struct node *n);
void node_on_packet(struct sim *s, uint32_t number);
uint64_t node_clock_ms(const struct sim *s, const struct node *n);
bool node_awake(const struct sim *s, const struct node *n);

/* raft_sim_disk.c */
void disk_queue_write(struct sim *s, struct node *n, const struct raft_update *u);
void disk_on_write(struct sim *s, struct node *n);
void disk_crash(struct sim *s, struct node *n);
void disk_clear(struct disk *d);
void disk_restore(struct sim *s, struct node *n, const struct state *checkpoint);
void disk_checkpoint(struct sim *s, struct node *n);
void disk_fetch(struct sim *s, struct node *n, uint32_t from, uint64_t index, uint64_t term);
void disk_on_fetch(struct sim *s, struct node *n);

/* raft_sim_member.c */
void member_reset(struct sim *s);
uint32_t member_number(struct sim *s, struct slice bytes); /* of a configuration, by its bytes */
uint32_t member_number_of(struct sim *s, const struct raft_config *config);
void member_decode(struct sim *s, uint32_t number, struct raft_config *ret_config);
void member_change(struct sim *s);
void member_kill(struct sim *s);
void member_wipe(struct sim *s);
void member_revive(struct sim *s);
bool member_checkpoint(struct sim *s, struct node *n, struct state *state);
void member_update(struct sim *s, struct node *n, const struct raft_update *u);
bool member_settled(struct sim *s, const struct node *n, const struct node *leader);

/* raft_sim_fault.c */
void fault_clock(struct sim *s, struct node *n);
void fault_choose(struct sim *s, const char *profile_name);
void fault_tick(struct sim *s);
void fault_calm(struct sim *s);
void fault_heal(struct sim *s);
void fault_cut_leader_link(struct sim *s);

/* raft_sim_client.c */
void client_start(struct sim *s);
void client_tick(struct sim *s, uint32_t client, uint32_t number);
void client_on_apply(struct sim *s, struct node *n, const struct raft_entry *entry);
void client_on_reads(struct sim *s, struct node *n, const struct raft_update *u);
void client_forget_node(struct sim *s, const struct node *n);
void client_calm(struct sim *s);
bool client_served(const struct sim *s);

/* raft_sim_oracle.c */
void oracle_reset(struct sim *s);
void oracle_entries(struct sim *s, struct node *n, const struct raft_entry *entries,
                    unsigned count);
void oracle_vote_sent(struct sim *s, struct node *n, const struct raft_message *m);
void oracle_ack_sent(struct sim *s, struct node *n, const struct raft_message *m);
void oracle_vote_record(struct sim *s, struct node *n, uint64_t term, uint32_t voted_for);
void oracle_update(struct sim *s, struct node *n, const struct raft_update *u);
void oracle_applied(struct sim *s, struct node *n);
void oracle_node(struct sim *s, struct node *n);
bool oracle_converged(struct sim *s);

#endif
