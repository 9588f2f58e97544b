/* Assertions that stay on in production: a broken invariant ends the process with its place.
 *
 * Data from the network or a disk is never asserted; it is checked and returned as an error. */
#ifndef CAIRN_BASE_CHECK_H
#define CAIRN_BASE_CHECK_H

__attribute__((noreturn, format(printf, 3, 4))) void check_failed(const char *file, int line,
                                                                  const char *format, ...);

#define CHECK(condition)                                        \
    do {                                                        \
        if (__builtin_expect(!(condition), 0))                  \
            check_failed(__FILE__, __LINE__, "%s", #condition); \
    } while (0)

/* The object is what it claims to be: its first-class `magic` field holds `magic_value`. */
#define CHECK_OBJ(object, magic_value)           \
    do {                                         \
        CHECK((object) != NULL);                 \
        CHECK((object)->magic == (magic_value)); \
    } while (0)

#define UNREACHABLE(...) check_failed(__FILE__, __LINE__, __VA_ARGS__)

#endif
