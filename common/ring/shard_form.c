/* The ring of a table's targets, and the first assignment of its slots. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/ring/placement.h"
#include "common/ring/shard_private.h"
#include "common/base/banned.h"

/* What cannot be split is a host without a rack and a zone. */
static struct placement_domain domain_of(const char *text)
{
    struct placement_domain domain = {{0}, {0}, {0}};
    if (placement_domain_parse(text, &domain) != 0) {
        size_t size = strnlen(text, sizeof domain.host - 1);
        memcpy(domain.host, text, size);
        domain.host[size] = 0;
    }
    return domain;
}

struct ring *shard_table_ring(const struct shard_table *t, const uint32_t *weights)
{
    struct ring_target *targets = calloc(t->target_count + 1, sizeof *targets);
    struct placement_domain *domains = calloc(t->target_count + 1, sizeof *domains);
    CHECK(targets != NULL && domains != NULL);
    for (unsigned i = 0; i < t->target_count; i++) {
        domains[i] = domain_of(t->targets[i].host);
        targets[i] = (struct ring_target){.id = t->targets[i].id,
                                          .uuid = t->targets[i].uuid,
                                          .host = domains[i].host,
                                          .rack = domains[i].rack,
                                          .zone = domains[i].zone,
                                          .weight = weights[i]};
    }
    struct ring *ring = ring_create(targets, t->target_count);
    free(targets);
    free(domains);
    return ring;
}

/* ---- forming ---- */

/* Frozen, as ring_form is: hosts are whole texts, and only targets that are up take part. */
static int form_by_walk(const struct shard_table *t, unsigned copies, uint32_t *ids)
{
    struct ring_target *up = calloc(t->target_count + 1, sizeof *up);
    unsigned up_count = 0;
    CHECK(up != NULL);
    for (unsigned i = 0; i < t->target_count; i++) {
        const struct target *target = &t->targets[i];
        if (target->state == TARGET_UP)
            up[up_count++] = (struct ring_target){.id = target->id,
                                                  .uuid = target->uuid,
                                                  .host = target->host,
                                                  .weight = target_ring_weight(target)};
    }
    struct ring *ring = ring_create(up, up_count);
    int status = ring_form(ring, t->shard_count, copies, ids);
    ring_destroy(ring);
    free(up);
    return status;
}

/* Frozen too (test-common-ring, plan_form_never_changes). */
static int form_by_plan(const struct shard_table *t, unsigned copies, uint32_t *ids)
{
    uint32_t *weights = calloc(t->target_count + 1, sizeof *weights);
    CHECK(weights != NULL);
    for (unsigned i = 0; i < t->target_count; i++)
        if (t->targets[i].state == TARGET_UP)
            weights[i] = target_ring_weight(&t->targets[i]);
    struct ring *ring = shard_table_ring(t, weights);
    struct placement p = {.ring = ring, .shard_count = t->shard_count, .copies = copies};
    int status = placement_plan(&p, ids, NULL);
    ring_destroy(ring);
    free(weights);
    return status;
}

/* Who took part has its share; who was away shall get it later. */
static void note_shares(struct shard_table *t, unsigned copies)
{
    bool is_first = true;
    for (unsigned other = 1; other <= COPIES_MAX; other++)
        is_first = is_first && (other == copies || !t->shards[other]);
    for (unsigned i = 0; i < t->target_count; i++) {
        struct target *target = &t->targets[i];
        bool took_part = target->state == TARGET_UP && target_ring_weight(target) > 0;
        target->rebalance = !took_part || (target->rebalance && !is_first);
    }
}

static int form(struct shard_table *t, uint64_t version, unsigned copies,
                int (*assign)(const struct shard_table *t, unsigned copies, uint32_t *ids))
{
    if (copies < 1 || copies > COPIES_MAX || t->shard_count == 0)
        return -ERR_INVALID;
    if (t->shards[copies])
        return -ERR_EXISTS;
    uint32_t *ids = calloc((size_t)t->shard_count * copies, sizeof *ids);
    CHECK(ids != NULL);
    int status = assign(t, copies, ids);
    if (status == 0) {
        t->shards[copies] = calloc(t->shard_count, sizeof **t->shards);
        CHECK(t->shards[copies] != NULL);
        for (uint32_t i = 0; i < t->shard_count; i++) {
            for (unsigned slot = 0; slot < copies; slot++)
                t->shards[copies][i].slot[slot] =
                    (struct slot){.target = ids[(size_t)i * copies + slot], .state = SLOT_INSYNC};
            shard_changed(t, &t->shards[copies][i], version);
        }
        note_shares(t, copies);
    }
    free(ids);
    return status;
}

int shard_table_form(struct shard_table *t, uint64_t version, unsigned copies)
{
    return form(t, version, copies, form_by_walk);
}

int shard_table_form_by_plan(struct shard_table *t, uint64_t version, unsigned copies)
{
    return form(t, version, copies, form_by_plan);
}
