/* What the clients of a history do next: operations on few names, so that they meet. */
#include <stdio.h>
#include <sys/stat.h>

#include "tests/history/history.h"

struct slice history_name(uint32_t slot, char text[HISTORY_NAME_SIZE])
{
    (void)snprintf(text, HISTORY_NAME_SIZE, "n%u", slot);
    return slice_str(text);
}

struct history_seen history_see(const struct wire_attr *attr)
{
    return (struct history_seen){.inode = attr->inode,
                                 .version = attr->version,
                                 .tag = attr->gid,
                                 .value = attr->uid,
                                 .nlink = attr->nlink,
                                 .is_directory = S_ISDIR(attr->mode)};
}

void history_see_entry(struct history_op *op, struct slice name, const struct wire_attr *attr)
{
    char text[HISTORY_NAME_SIZE];
    for (uint32_t slot = 0; slot < HISTORY_SLOTS; slot++)
        if (slice_equal(name, history_name(slot, text)))
            op->listed[slot] = history_see(attr);
}

bool history_is_definite(int status)
{
    switch (-status) {
    case 0:
    case ERR_NO_ENTRY:
    case ERR_EXISTS:
    case ERR_NOT_DIR:
    case ERR_IS_DIR:
    case ERR_NOT_EMPTY:
    case ERR_PERMISSION:
    case ERR_STALE_HANDLE:
        return true;
    default:
        return false;
    }
}

static enum history_kind pick_kind(struct prng *chance, bool reads_only)
{
    static const struct {
        enum history_kind kind;
        unsigned weight;
    } table[] = {{HISTORY_CREATE, 16},  {HISTORY_MKDIR, 6},   {HISTORY_UNLINK, 10},
                 {HISTORY_RMDIR, 5},    {HISTORY_LOOKUP, 18}, {HISTORY_GETATTR, 10},
                 {HISTORY_SETATTR, 12}, {HISTORY_LINK, 5},    {HISTORY_RENAME, 10},
                 {HISTORY_LIST, 8}};
    static const enum history_kind reads[] = {HISTORY_LOOKUP, HISTORY_GETATTR, HISTORY_LIST};
    if (reads_only)
        return reads[prng_below(chance, 3)];
    uint64_t number = prng_below(chance, 100);
    unsigned i = 0;
    for (; number >= table[i].weight; i++)
        number -= table[i].weight;
    return table[i].kind;
}

void history_pick(struct history_plan *plan, struct prng *chance, bool reads_only,
                  struct history_op *op)
{
    op->group = (uint32_t)prng_below(chance, plan->groups);
    op->kind = pick_kind(chance, reads_only);
    op->inode = plan->known[op->group][prng_below(chance, HISTORY_KNOWN)];
    bool by_inode =
        op->kind == HISTORY_GETATTR || op->kind == HISTORY_SETATTR || op->kind == HISTORY_LINK;
    if (by_inode && op->inode == 0)
        op->kind = op->kind == HISTORY_GETATTR ? HISTORY_LOOKUP : HISTORY_CREATE;
    if (!by_inode || op->kind == HISTORY_CREATE || op->kind == HISTORY_LOOKUP)
        op->inode = 0;
    op->slot = (uint32_t)prng_below(chance, op->kind == HISTORY_LIST ? 2 : HISTORY_SLOTS);
    if (op->kind == HISTORY_RENAME) {
        op->slot2 =
            (op->slot + 1 + (uint32_t)prng_below(chance, HISTORY_SLOTS - 1)) % HISTORY_SLOTS;
        op->flags = (uint32_t)prng_below(chance, 3); /* plain, NOREPLACE, EXCHANGE */
    }
    if (op->kind == HISTORY_CREATE || op->kind == HISTORY_MKDIR || op->kind == HISTORY_SETATTR)
        op->value = ++plan->next_value;
}

void history_learn(struct history_plan *plan, struct prng *chance, const struct history_op *op)
{
    if (op->status == 0 && op->kind != HISTORY_LIST && !history_unknown(op))
        plan->known[op->group][prng_below(chance, HISTORY_KNOWN)] = op->seen.inode;
}
