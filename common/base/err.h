/* Error codes: wire number, errno, retry rule and text, all from err.tbl.
 *
 * Functions return 0 or a negated enum err. Any thread; nothing is allocated. */
#ifndef CAIRN_BASE_ERR_H
#define CAIRN_BASE_ERR_H

#include <errno.h>

enum err {
    ERR_OK = 0,
#define X(wire, name, errno_value, retry, text) name = wire,
#include "common/base/err.tbl"
#undef X
    ERR_MAX
};

enum err_retry { RETRY_NEVER, RETRY_LATER, RETRY_ELSEWHERE, RETRY_REFRESH };

/* Detail for a person, filled by err_set; text is "" while nothing was set. */
struct err_text {
    char text[240];
};

/* All take a code as functions return it (negative) or as the wire carries it (positive). */
const char *err_name(int code);
const char *err_text(int code);
int err_errno(int code); /* positive errno; EIO for an unknown code, 0 for 0 */
enum err_retry err_retry(int code);

/* The nearest code for an errno value, negated; -ERR_IO where none fits. */
int err_from_errno(int errno_value);

/* Writes the detail into `why` (may be NULL) and returns -code. */
int err_set(enum err code, struct err_text *why, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
