/* The namespace of one node: batches, checkpoints as images, and all invariants after each step. */
#include "tests/sim/meta_sim.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/checksum.h"

struct slice replica_envelope(uint32_t number)
{
    CHECK(number < meta.envelope_count);
    return slice_of(meta.bytes.data + meta.envelopes[number],
                    meta.envelopes[number + 1] - meta.envelopes[number]);
}

/* Never 0. */
uint64_t replica_answer_hash(const struct fs_result *result)
{
    uint64_t head = ((uint64_t)(uint16_t)-result->status << 16) | result->code;
    return (head + 1) << 32 | checksum_crc32(0, result->body.data, result->body.size);
}

static struct replica *open_store(struct kv *take_kv)
{
    struct replica *r = calloc(1, sizeof *r);
    CHECK(r != NULL);
    if (fs_open(take_kv, &r->fs) != 0) {
        take_kv->ops->destroy(take_kv);
        free(r);
        return NULL;
    }
    CHECK(fs_view_begin(r->fs, &r->view) == 0);
    return r;
}

static void close_replica(struct replica *r)
{
    if (!r)
        return;
    fs_view_end(r->view);
    fs_close(r->fs);
    free(r);
}

void replica_drop(struct node *n)
{
    close_replica(n->replica);
    n->replica = NULL;
}

static void check_all(struct sim *s, struct node *n)
{
    struct err_text why = {""};
    int status = fs_check(n->replica->fs, n->replica->view, &why);
    meta.checks++;
    if (status != 0)
        sim_fail(s, "fs_check: node %u at %lu: %s (%s)", n->id, n->state.index, why.text,
                 err_name(status));
}

/* ---- applying ---- */

static void apply_entry(struct sim *s, struct replica *r, const struct raft_entry *e)
{
    struct command c = command_of(s, e);
    int status;
    r->result = (struct fs_result){0};
    if (e->kind == RAFT_ENTRY_COMMAND)
        status = fs_apply(r->fs, e->index, e->term,
                          replica_envelope(c.client * LOG_MAX + c.sequence), &r->result);
    else
        status = fs_skip(r->fs, e->index, e->term);
    CHECK(status == 0);
}

static uint64_t hash_of(const struct replica *r)
{
    struct fs_status st;
    fs_get_status(r->fs, &st);
    return st.state_hash;
}

void replica_begin(struct sim *s, struct node *n)
{
    (void)s;
    CHECK(fs_begin_batch(n->replica->fs) == 0);
}

void replica_apply(struct sim *s, struct node *n, const struct raft_entry *e)
{
    apply_entry(s, n->replica, e);
    n->state.hash = hash_of(n->replica);
    if (n->replica->result.diverged)
        sim_fail(s, "node %u at %lu finds that it has diverged", n->id, e->index);
}

void replica_end(struct sim *s, struct node *n)
{
    struct replica *r = n->replica;
    CHECK(fs_commit_batch(r->fs) == 0);
    CHECK(fs_view_renew(r->view) == 0);
    if (r->batches++ % meta.check_every == 0)
        check_all(s, n);
}

/* ---- images ---- */

static void write_image(struct sim *s, const struct replica *r, uint32_t config, struct bytes *out)
{
    struct fs_snapshot *snapshot;
    int more = 1;
    CHECK(fs_snapshot_begin(r->view, slice_of(&config, sizeof config), &snapshot) == 0);
    while (more == 1)
        more = fs_snapshot_next(snapshot, (size_t)prng_between(&s->prng, 1, 4000), out);
    CHECK(more == 0);
    fs_snapshot_end(snapshot);
}

void replica_checkpoint(struct sim *s, struct node *n, struct state *state)
{
    struct bytes out = {0};
    write_image(s, n->replica, state->config, &out);
    state->image = buf_create(out.size);
    state->image_size = out.size;
    memcpy(state->image->data, out.data, out.size);
    bytes_release(&out);
}

/* In pieces of any size. */
static int read_image(struct sim *s, struct kv *kv, struct slice image, uint32_t config)
{
    struct fs_load *load;
    struct bytes found = {0};
    int status = fs_load_begin(kv, &load);
    if (status != 0)
        return status;
    for (size_t at = 0, size; at < image.size && status == 0; at += size) {
        size = (size_t)prng_between(&s->prng, 1, 4000);
        size = size < image.size - at ? size : image.size - at;
        status = fs_load_add(load, slice_of(image.data + at, size));
    }
    int end = fs_load_end(load, &found);
    if (status == 0)
        status = end;
    if (status == 0 && !slice_equal(bytes_slice(&found), slice_of(&config, sizeof config)))
        status = -ERR_CORRUPT;
    bytes_release(&found);
    return status;
}

/* R11: position and rows are one piece. */
static void check_position(struct sim *s, struct node *n)
{
    struct fs_status st;
    fs_get_status(n->replica->fs, &st);
    if (st.applied_index != n->state.index || st.applied_term != n->state.term)
        sim_fail(s, "node %u: the image of %lu in term %lu says %lu in term %lu", n->id,
                 n->state.index, n->state.term, st.applied_index, st.applied_term);
    if (st.applied_index <= s->hashed_count && st.state_hash != s->hashes[st.applied_index])
        sim_fail(s, "node %u has another state at %lu after it was loaded", n->id, n->state.index);
    n->state.hash = st.state_hash;
}

static void replace(struct sim *s, struct node *n, struct slice image, uint32_t config)
{
    struct kv *kv = kv_mem_create();
    int status = image.size > 0 ? read_image(s, kv, image, config) : 0;
    replica_drop(n);
    if (status == 0)
        n->replica = open_store(kv);
    else
        kv->ops->destroy(kv);
    if (!n->replica) {
        sim_fail(s, "node %u: the image of %lu cannot be loaded: %s", n->id, n->state.index,
                 err_name(status));
        return;
    }
    check_position(s, n);
    check_all(s, n);
}

void replica_load(struct sim *s, struct node *n, const struct state *checkpoint)
{
    struct slice image = slice_of(NULL, 0);
    if (checkpoint->image)
        image = slice_of(checkpoint->image->data, checkpoint->image_size);
    meta.loads += checkpoint->index > 0;
    replace(s, n, image, checkpoint->config);
}

/* What the process had committed is in the store that the next one opens. */
void replica_restart(struct sim *s, struct node *n)
{
    struct bytes image = {0};
    if (n->replica && n->state.index > 0)
        write_image(s, n->replica, n->state.config, &image);
    meta.restarts++;
    replace(s, n, bytes_slice(&image), n->state.config);
    bytes_release(&image);
}

/* ---- the log once more ---- */

void replica_replay(struct sim *s)
{
    struct replica *r = open_store(kv_mem_create());
    CHECK(r != NULL);
    if (s->committed_count < meta.told_index)
        sim_fail(s, "a change was acknowledged at %lu, only %lu are committed", meta.told_index,
                 s->committed_count);
    for (uint64_t i = 1; i <= s->committed_count && !s->failed; i++) {
        struct raft_entry e = entry_of(s, &s->committed[i]);
        CHECK(fs_begin_batch(r->fs) == 0);
        apply_entry(s, r, &e);
        if (meta.answers[i] != 0 && meta.answers[i] != replica_answer_hash(&r->result))
            sim_fail(s, "a client was told something else than entry %lu says", i);
        CHECK(fs_commit_batch(r->fs) == 0);
        if (i <= s->hashed_count && hash_of(r) != s->hashes[i])
            sim_fail(s, "the log makes another state at %lu than the nodes have", i);
    }
    meta.replays++;
    close_replica(r);
}
