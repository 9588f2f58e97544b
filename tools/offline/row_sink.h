/* A store that keeps nothing: hands on each row that is put. So fs_load, which knows the stream of
 * a checkpoint and checks it, can be used without a database. One thread. */
#ifndef CAIRN_TOOLS_OFFLINE_ROW_SINK_H
#define CAIRN_TOOLS_OFFLINE_ROW_SINK_H

#include "metaserver/fs/kv.h"

/* Not 0 ends the load with this error. The row of the counters (key M) comes last. */
typedef int row_sink_fn(void *arg, struct slice key, struct slice value);

struct row_sink {
    struct kv kv; /* give this to fs_load_begin */
    struct kv_view view;
    struct kv_cursor cursor;
    row_sink_fn *fn;
    void *arg;
};
void row_sink_init(struct row_sink *sink, row_sink_fn *fn, void *arg);

#endif
