/* A dump of the namespace as text: one JSON object per line (docs/disk-formats.md). One thread. */
#ifndef CAIRN_TOOLS_DUMP_JSON_H
#define CAIRN_TOOLS_DUMP_JSON_H

#include <jansson.h>
#include <stdio.h>

#include "common/wire/codec.h"
#include "common/base/err.h"

enum { DUMP_VERSION = 1 };

enum dump_kind { DUMP_HEADER = 1, DUMP_NAME, DUMP_CHUNK, DUMP_LINK, DUMP_INODE, DUMP_END };

struct dump_header {
    struct uuid cluster;
    uint64_t index, term, inode_next;
    uint8_t copies;
};

struct dump_counts {
    uint64_t names, chunks, links, inodes;
};

/* ---- writing; errors of the file show in ferror ---- */

void dump_print_header(FILE *out, const struct dump_header *h);
/* Lists of records, encoded, as meta_dump_r has them; adds them to the counts. */
void dump_print_rows(FILE *out, struct slice names, struct slice chunks, struct slice links,
                     struct slice inodes, struct dump_counts *counts);
void dump_print_end(FILE *out, const struct dump_counts *counts);

/* ---- reading ---- */

struct dump_line {
    enum dump_kind kind;
    union {
        struct dump_header header;
        struct rec_dump_name name;
        struct rec_dump_chunk chunk;
        struct rec_dump_link link;
        struct rec_dump_inode inode;
        struct dump_counts end;
    };
    json_t *json;     /* holds the texts */
    struct bytes raw; /* of a text that was in hexadecimal digits */
};
/* -ERR_INVALID with a text that says what is wrong with the line. The line is released by
 * dump_line_release, also after an error. */
int dump_line_parse(struct slice text, struct dump_line *ret_line, struct err_text *why);
void dump_line_release(struct dump_line *line);

#endif
