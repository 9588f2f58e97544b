/* The sequential meaning of the operations on one group of names. Written from POSIX and the rules
 * in docs, not from metaserver/fs. */
#include <stdlib.h>
#include <string.h>

#include "common/wire/types.h"
#include "tests/history/history.h"

static uint32_t links_of(const struct history_state *s, uint64_t inode)
{
    uint32_t links = 0;
    for (unsigned i = 0; i < HISTORY_SLOTS; i++)
        links += s->slots[i].inode == inode;
    return links;
}

static const struct history_slot *find(const struct history_state *s, uint64_t inode)
{
    for (unsigned i = 0; inode != 0 && i < HISTORY_SLOTS; i++)
        if (s->slots[i].inode == inode)
            return &s->slots[i];
    return NULL;
}

/* `links`: of a file; a directory has two while it exists. */
static bool sees(const struct history_seen *seen, const struct history_slot *slot, uint32_t links)
{
    uint32_t nlink = slot->is_directory && links > 0 ? 2 : links;
    return seen->inode == slot->inode && seen->tag == slot->tag && seen->value == slot->value &&
           seen->is_directory == (slot->is_directory != 0) && seen->nlink == nlink;
}

struct step {
    const struct history_op *op;
    bool answered;
    struct history_state *s; /* starts as the state before */
};

static bool fails(const struct step *t, int status)
{
    return t->answered && t->op->status == status;
}

static bool succeeds(const struct step *t, const struct history_slot *slot, uint32_t links)
{
    return !t->answered || (t->op->status == 0 && sees(&t->op->seen, slot, links));
}

static bool make(const struct step *t)
{
    struct history_slot *slot = &t->s->slots[t->op->slot];
    if (slot->inode != 0)
        return fails(t, -ERR_EXISTS);
    if (t->answered && t->op->status != 0)
        return false;
    uint64_t inode = t->op->seen.inode;
    if (find(t->s, inode))
        return false; /* numbers are not used twice */
    *slot = (struct history_slot){
        .inode = inode, .tag = t->op->value, .is_directory = t->op->kind == HISTORY_MKDIR};
    return succeeds(t, slot, 1);
}

static bool remove_name(const struct step *t)
{
    struct history_slot *slot = &t->s->slots[t->op->slot], gone = *slot;
    bool wants_directory = t->op->kind == HISTORY_RMDIR;
    if (slot->inode == 0)
        return fails(t, -ERR_NO_ENTRY);
    if (slot->is_directory != wants_directory)
        return fails(t, wants_directory ? -ERR_NOT_DIR : -ERR_IS_DIR);
    *slot = (struct history_slot){.inode = 0};
    return succeeds(t, &gone, links_of(t->s, gone.inode));
}

static bool lookup(const struct step *t)
{
    const struct history_slot *slot = &t->s->slots[t->op->slot];
    return slot->inode == 0 ? fails(t, -ERR_NO_ENTRY)
                            : succeeds(t, slot, links_of(t->s, slot->inode));
}

/* Without a name: freed, or kept for somebody who still has it open. */
static bool gone(const struct step *t)
{
    return t->answered &&
           (t->op->status == -ERR_STALE_HANDLE ||
            (t->op->status == 0 && t->op->seen.inode == t->op->inode && t->op->seen.nlink == 0));
}

static bool getattr(const struct step *t)
{
    const struct history_slot *slot = find(t->s, t->op->inode);
    return slot ? succeeds(t, slot, links_of(t->s, slot->inode)) : gone(t);
}

static bool setattr(const struct step *t)
{
    const struct history_slot *slot = find(t->s, t->op->inode);
    if (!slot)
        return gone(t);
    for (unsigned i = 0; i < HISTORY_SLOTS; i++)
        if (t->s->slots[i].inode == t->op->inode)
            t->s->slots[i].value = t->op->value;
    return succeeds(t, slot, links_of(t->s, slot->inode));
}

static bool link_to(const struct step *t)
{
    struct history_slot *slot = &t->s->slots[t->op->slot];
    const struct history_slot *from = find(t->s, t->op->inode);
    if (!from)
        return fails(t, -ERR_NO_ENTRY) || (slot->inode != 0 && fails(t, -ERR_EXISTS));
    if (slot->inode != 0)
        return fails(t, -ERR_EXISTS);
    if (from->is_directory)
        return fails(t, -ERR_PERMISSION);
    *slot = *from;
    return succeeds(t, slot, links_of(t->s, slot->inode));
}

static bool rename_name(const struct step *t)
{
    struct history_slot *from = &t->s->slots[t->op->slot], *to = &t->s->slots[t->op->slot2];
    struct history_slot moved = *from;
    bool exchange = t->op->flags & RENAME_FLAG_EXCHANGE;
    if (from->inode == 0 || (exchange && to->inode == 0))
        return fails(t, -ERR_NO_ENTRY);
    if (to->inode != 0 && (t->op->flags & RENAME_FLAG_NOREPLACE))
        return fails(t, -ERR_EXISTS);
    if (to->inode != 0 && to->inode != from->inode && !exchange &&
        to->is_directory != from->is_directory)
        return fails(t, to->is_directory ? -ERR_IS_DIR : -ERR_NOT_DIR);
    if (to->inode != from->inode) { /* two names of one file: rename(2) does nothing */
        *from = exchange ? *to : (struct history_slot){.inode = 0};
        *to = moved;
    }
    return succeeds(t, &moved, links_of(t->s, moved.inode));
}

static bool list(const struct step *t)
{
    if (!t->answered || t->op->status != 0)
        return false;
    for (unsigned i = 0; i < HISTORY_SLOTS; i++) {
        const struct history_slot *slot = &t->s->slots[i];
        if (history_directory(i) != t->op->slot)
            continue;
        if (slot->inode == 0 ? t->op->listed[i].inode != 0
                             : !sees(&t->op->listed[i], slot, links_of(t->s, slot->inode)))
            return false;
    }
    return true;
}

bool history_step(const struct history_state *before, const struct history_op *op, bool answered,
                  struct history_state *ret_after)
{
    *ret_after = *before;
    struct step t = {op, answered, ret_after};
    switch (op->kind) {
    case HISTORY_CREATE:
    case HISTORY_MKDIR:
        return make(&t);
    case HISTORY_UNLINK:
    case HISTORY_RMDIR:
        return remove_name(&t);
    case HISTORY_LOOKUP:
        return lookup(&t);
    case HISTORY_GETATTR:
        return getattr(&t);
    case HISTORY_SETATTR:
        return setattr(&t);
    case HISTORY_LINK:
        return link_to(&t);
    case HISTORY_RENAME:
        return rename_name(&t);
    case HISTORY_LIST:
        return list(&t);
    case HISTORY_KIND_COUNT:
        break;
    }
    return false;
}
