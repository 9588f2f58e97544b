/* Counters of a daemon, from a table with help text; read by `cairn status` and the heartbeats.
 *
 *   #define NAME_METRICS(C) C(read_bytes, "bytes sent to readers") ...
 *   struct name_metrics { NAME_METRICS(METRIC_FIELD) };
 *
 * Any thread may add; a reader sees each counter by itself, not a common instant. */
#ifndef CAIRN_BASE_METRICS_H
#define CAIRN_BASE_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef _Atomic uint64_t metric;

struct metric_row {
    const char *name, *help;
    size_t offset;
};

#define METRIC_FIELD(name, help)      metric name;
#define METRIC_ROW(owner, name, help) {#name, help, offsetof(owner, name)},

static inline void metric_add(metric *m, uint64_t more)
{
    atomic_fetch_add_explicit(m, more, memory_order_relaxed);
}

static inline uint64_t metric_get(const metric *m)
{
    return atomic_load_explicit(m, memory_order_relaxed);
}

#endif
