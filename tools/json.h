/* JSON of numbers and texts that came over the wire. Any thread. */
#ifndef CAIRN_TOOLS_JSON_H
#define CAIRN_TOOLS_JSON_H

#include <jansson.h>

#include "common/base/slice.h"

/* -1 for what JSON readers cannot hold. */
json_t *json_of_number(uint64_t n);
/* Bytes that are no UTF-8 become a text of hexadecimal digits. */
json_t *json_of_slice(struct slice s);
/* Room on a metaserver; null when nobody heard of it. */
json_t *json_of_space(uint8_t level, uint64_t bytes_free, struct slice place);
/* To standard output, indented, with a line end. */
void json_print(json_t *take_value);
/* The same on one line. */
void json_print_line(json_t *take_value);

#endif
