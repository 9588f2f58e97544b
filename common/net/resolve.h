/* Name look-ups that do not block the loop: each runs on a thread of its own (they are rare: one
 * per connect to an address given as a name). Loop thread. */
#ifndef CAIRN_NET_RESOLVE_H
#define CAIRN_NET_RESOLVE_H

#include "common/net/loop.h"
#include "common/net/sock.h"

struct resolve;

/* On the loop, once, never from inside resolve_start. status 0 or a negated err with its text. */
typedef void resolve_fn(void *arg, int status, const struct sock_address *address, const char *why);

/* NULL when no thread can be started. */
struct resolve *resolve_start(struct loop *loop, const char *text, resolve_fn *fn, void *arg);
/* The callback will not come; blocks until the resolver has given up, if it is still at work. */
void resolve_cancel(struct resolve *resolve);

#endif
