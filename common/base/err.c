/* Error codes: look-ups over err.tbl. */
#include "common/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    const char *text;
    int errno_value;
    enum err_retry retry;
} rows[ERR_MAX] = {
    [ERR_OK] = {"OK", "success", 0, RETRY_NEVER},
#define X(wire, name, errno_value, retry, text) [name] = {#name, text, errno_value, RETRY_##retry},
#include "common/base/err.tbl"
#undef X
};

static unsigned row_of(int code)
{
    unsigned index = (unsigned)(code < 0 ? -code : code);
    return index < ERR_MAX && rows[index].name ? index : (unsigned)ERR_MAX;
}

const char *err_name(int code)
{
    unsigned row = row_of(code);
    return row < ERR_MAX ? rows[row].name : "ERR_UNKNOWN";
}

const char *err_text(int code)
{
    unsigned row = row_of(code);
    return row < ERR_MAX ? rows[row].text : "unknown error";
}

int err_errno(int code)
{
    unsigned row = row_of(code);
    return row < ERR_MAX ? rows[row].errno_value : EIO;
}

enum err_retry err_retry(int code)
{
    unsigned row = row_of(code);
    return row < ERR_MAX ? rows[row].retry : RETRY_NEVER;
}

int err_from_errno(int errno_value)
{
    if (errno_value == 0)
        return 0;
    if (errno_value == EIO)
        return -ERR_IO;
    if (errno_value == EAGAIN)
        return -ERR_BUSY;
    if (errno_value == EDQUOT) /* a quota is room, too */
        return -ERR_NO_SPACE;
    for (int row = 1; row < ERR_MAX; row++)
        if (rows[row].name && rows[row].errno_value == errno_value)
            return -row;
    return -ERR_IO;
}

int err_set(enum err code, struct err_text *why, const char *format, ...)
{
    if (why) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(why->text, sizeof why->text, format, args);
        va_end(args);
    }
    return -(int)code;
}
