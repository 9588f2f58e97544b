/* A core under test, fed by hand. */
#include "tests/unit/chunkserver/chain/fixture.h"

#include <CUnit/CUnit.h>

#include "common/base/banned.h"

struct chain *core;
struct chain_work_list work;
int64_t now_ms;
const struct chunk_id chunk_a = {100, 0, 1}, chunk_b = {200, 0, 1};

void core_options(struct chain_options *ret_options)
{
    chain_options_defaults(ret_options);
    ret_options->target = SELF;
    ret_options->incarnation = 5;
    ret_options->simulated = true;
}

void core_start_with(const struct chain_options *options)
{
    chain_destroy(core);
    core = chain_create(options);
    now_ms = 1000;
    lease(1000000);
}

void core_start(void)
{
    struct chain_options options;
    core_options(&options);
    core_start_with(&options);
}

void core_stop(void)
{
    chain_destroy(core);
    core = NULL;
    chain_work_list_release(&work);
}

void step(struct chain_event *event)
{
    event->now_ms = now_ms;
    work.count = 0;
    chain_step(core, event, &work);
    CU_ASSERT_PTR_NULL(chain_check(core));
}

void tick(int64_t ms)
{
    now_ms += ms;
    struct chain_event event = {.kind = CHAIN_EVENT_TICK};
    step(&event);
}

void lease(int64_t ms)
{
    struct chain_event event = {.kind = CHAIN_EVENT_LEASE, .u.lease.expires_ms = now_ms + ms};
    step(&event);
}

void view_fenced(uint64_t epoch, unsigned insync, const uint32_t *targets, uint32_t fence_ms)
{
    struct chain_event event = {.kind = CHAIN_EVENT_VIEW,
                                .u.view = {.copies = COPIES,
                                           .shard = SHARD,
                                           .epoch = epoch,
                                           .incarnation = 5,
                                           .fence_ms = fence_ms,
                                           .min_copies = 1}};
    for (unsigned i = 0; targets[i]; i++)
        event.u.view.members[event.u.view.member_count++] =
            (struct chain_member){targets[i], i < insync ? SLOT_INSYNC : SLOT_SYNCING};
    step(&event);
}

void view(uint64_t epoch, unsigned insync, const uint32_t *targets)
{
    view_fenced(epoch, insync, targets, 0);
}

void client_write(uint64_t request, uint64_t epoch, uint64_t op, uint32_t flags)
{
    struct msg_chunk_write m = {.id = chunk_a,
                                .shard = {COPIES, SHARD, epoch},
                                .session = 9,
                                .op = op,
                                .length = BLOCK_SIZE,
                                .flags = flags};
    struct chain_event event = {.kind = CHAIN_EVENT_WRITE, .request = request, .space_ok = true};
    event.u.write = &m;
    step(&event);
}

void client_change(uint64_t request, uint64_t epoch, uint64_t op, uint8_t kind)
{
    struct msg_chunk_change m = {
        .id = chunk_a, .shard = {COPIES, SHARD, epoch}, .session = 9, .op = op, .kind = kind};
    struct chain_event event = {.kind = CHAIN_EVENT_CHANGE, .request = request};
    event.u.change = &m;
    step(&event);
}

void client_read(uint64_t request, uint64_t epoch)
{
    struct msg_chunk_read m = {
        .id = chunk_a, .shard = {COPIES, SHARD, epoch}, .length = BLOCK_SIZE};
    struct chain_event event = {.kind = CHAIN_EVENT_READ, .request = request};
    event.u.read = &m;
    step(&event);
}

void peer_op(uint64_t request, uint64_t epoch, uint32_t sender, uint8_t kind, uint64_t seq,
             uint64_t previous_seq)
{
    struct msg_chain_op m = {.id = chunk_a,
                             .shard = {COPIES, SHARD, epoch},
                             .sender = sender,
                             .kind = kind,
                             .session = 9,
                             .op = 1000 + seq,
                             .version_epoch = 1,
                             .version_seq = seq,
                             .previous_epoch = previous_seq ? 1 : 0,
                             .previous_seq = previous_seq,
                             .length = BLOCK_SIZE,
                             .flags = CHUNK_WRITE_CREATE};
    struct chain_event event = {.kind = CHAIN_EVENT_CHAIN_OP, .request = request};
    event.u.chain_op = &m;
    step(&event);
}

unsigned work_count(enum chain_work_kind kind)
{
    unsigned count = 0;
    for (size_t i = 0; i < work.count; i++)
        count += work.items[i].kind == kind;
    return count;
}

struct chain_work work_at(enum chain_work_kind kind, unsigned n)
{
    for (size_t i = 0; i < work.count; i++)
        if (work.items[i].kind == kind && n-- == 0)
            return work.items[i];
    return (struct chain_work){0};
}

static void done_with(struct chain_done *d)
{
    struct chain_event event = {.kind = CHAIN_EVENT_DONE, .u.done = *d};
    step(&event);
}

void done(uint64_t id, int status)
{
    struct chain_done d = {.id = id, .status = status};
    done_with(&d);
}

void loaded(uint64_t id, bool exists, uint64_t epoch, uint64_t seq, bool suspect)
{
    struct chain_done d = {.id = id, .exists = exists, .suspect = suspect, .version = {epoch, seq}};
    done_with(&d);
}

void listed(uint64_t id, const struct chain_inventory *entries, uint32_t count)
{
    struct chain_done d = {.id = id, .entries = entries, .entry_count = count, .end = true};
    done_with(&d);
}

void crcs_known(uint64_t id, const uint32_t *crcs, uint32_t count)
{
    struct chain_done d = {.id = id, .crcs = crcs, .crc_count = count};
    done_with(&d);
}

int reply_of(uint64_t request)
{
    for (size_t i = 0; i < work.count; i++)
        if (work.items[i].kind == CHAIN_WORK_REPLY && work.items[i].request == request)
            return work.items[i].status;
    return 1;
}
