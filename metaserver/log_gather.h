/* The entries of a log as its recovery hands them over, ready for raft: so the log is read once at
 * a start. Raft keeps the whole log in memory anyway; what is gathered is no more than that, and
 * what a later batch replaced is let go at once. One thread. */
#ifndef CAIRN_METASERVER_LOG_GATHER_H
#define CAIRN_METASERVER_LOG_GATHER_H

#include "metaserver/log_store.h"
#include "metaserver/raft/raft.h"

struct log_gather {
    struct raft_entry *entries; /* each holds a reference to its block */
    unsigned count, capacity;
    struct buf *block; /* where the data of the next ones goes */
    size_t used;
};

/* For log_store_options; `g` ({0} at first) is borrowed until log_store_open returns. */
struct log_sink log_gather_sink(struct log_gather *g);
/* It holds exactly first..last; last == first - 1: nothing. */
bool log_gather_holds(const struct log_gather *g, uint64_t first, uint64_t last);
void log_gather_release(struct log_gather *g); /* {0} again */

#endif
