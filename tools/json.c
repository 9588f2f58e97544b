/* JSON of numbers and texts that came over the wire. */
#include "tools/json.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "tools/health.h"

#include "common/base/banned.h"

json_t *json_of_number(uint64_t n)
{
    return json_integer(n > INT64_MAX ? -1 : (json_int_t)n);
}

json_t *json_of_slice(struct slice s)
{
    json_t *text = json_stringn(s.size ? (const char *)s.data : "", s.size);
    if (text)
        return text;
    char *digits = malloc(2 * s.size + 1);
    CHECK(digits != NULL);
    for (size_t i = 0; i < s.size; i++)
        snprintf(digits + 2 * i, 3, "%02x", s.data[i]);
    text = json_stringn(digits, 2 * s.size);
    free(digits);
    return text;
}

json_t *json_of_space(uint8_t level, uint64_t bytes_free, struct slice place)
{
    if (level >= SPACE_UNHEARD)
        return json_null();
    return json_pack("{s:s s:o s:o}", "level", space_level_name(level), "bytes_free",
                     json_of_number(bytes_free), "folder",
                     place.size ? json_of_slice(place) : json_null());
}

static void print(json_t *take_value, size_t flags)
{
    json_dumpf(take_value, stdout, flags | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(take_value);
}

void json_print(json_t *take_value)
{
    print(take_value, JSON_INDENT(1));
}

void json_print_line(json_t *take_value)
{
    print(take_value, JSON_COMPACT);
}
