/* One request on its way: memory, answers, its form as a work item. */
#include "chunkserver/chain/chain_internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/banned.h"

struct op *op_create(struct chain *c, uint8_t kind, const struct chain_event *event)
{
    struct op *op = calloc(1, sizeof *op);
    CHECK(op != NULL);
    list_init(&op->node);
    op->serial = chain_next_id(c);
    op->kind = kind;
    op->request = event->request;
    op->space_ok = event->space_ok;
    op->payload = event->payload ? buf_ref(event->payload) : NULL;
    op->payload_size = event->payload_size;
    c->op_count++;
    return op;
}

void op_set_shard(struct op *op, const struct wire_shardref *ref)
{
    op->copies = ref->copies;
    op->shard = ref->shard;
    op->epoch = ref->epoch;
}

void op_set_crcs(struct op *op, struct slice crcs)
{
    if (crcs.size == 0)
        return;
    op->crcs = malloc(crcs.size);
    CHECK(op->crcs != NULL);
    memcpy(op->crcs, crcs.data, crcs.size);
    op->crcs_size = crcs.size;
}

void op_destroy(struct chain *c, struct op *take_op)
{
    CHECK(c->op_count > 0);
    c->op_count--;
    list_remove(&take_op->node);
    list_append(&c->graveyard, &take_op->node);
}

void graveyard_empty(struct chain *c)
{
    LIST_EACH(node, &c->graveyard)
    {
        struct op *op = CONTAINER_OF(node, struct op, node);
        list_remove(node);
        buf_unref(op->payload);
        free(op->crcs);
        free(op);
    }
}

void op_answer(struct chain *c, struct op *op, int status)
{
    if (op->request == 0)
        return;
    work_reply(c, op->request, status);
    c->work->items[c->work->count - 1].version = op->version;
    op->request = 0;
}

void work_set_op(struct chain_work *w, const struct op *op)
{
    w->op_kind = (enum chain_kind)op->kind;
    w->session = op->session;
    w->op = op->op;
    w->version = op->version;
    w->previous = op->previous;
    w->offset = op->offset;
    w->length = op->length;
    w->flags = op->flags;
    w->create = (op->flags & CHUNK_WRITE_CREATE) != 0;
    w->sync = (op->flags & CHUNK_WRITE_SYNC) != 0;
    w->absent = op->absent;
    w->payload = op->payload;
    w->payload_size = op->payload_size;
    w->crcs = slice_of(op->crcs, op->crcs_size);
}
