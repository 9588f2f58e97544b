/* Numbers for people: sizes, rates, durations, counts, and tables of columns. Any thread. */
#ifndef CAIRN_TOOLS_TEXT_H
#define CAIRN_TOOLS_TEXT_H

#include <stdint.h>

enum { TEXT_SIZE = 40, TABLE_COLUMNS_MAX = 16, TABLE_CELL_MAX = 64 };

/* "0 B", "512 B", "1.5 KiB", "64.0 MiB"; three to four digits, rounded down. */
const char *text_bytes(uint64_t bytes, char ret_text[TEXT_SIZE]);
/* Bytes over milliseconds: "684.0 MiB/s"; "-" for no time. */
const char *text_rate(uint64_t bytes, uint64_t ms, char ret_text[TEXT_SIZE]);
/* "0.4 s", "12 s", "4m12s", "2h05m", "6d 3h". */
const char *text_duration(uint64_t ms, char ret_text[TEXT_SIZE]);
/* "3,412,877" */
const char *text_count(uint64_t number, char ret_text[TEXT_SIZE]);

/* Rows of cells; widths follow the longest cell. */
struct text_table {
    unsigned columns, rows, capacity;
    char (*cells)[TABLE_CELL_MAX];
};
void text_table_init(struct text_table *t, unsigned columns);
void text_table_release(struct text_table *t);
/* Appends one row of t->columns texts; longer ones are cut. */
void text_table_row(struct text_table *t, const char *const *texts);
void text_table_print(const struct text_table *t);

#endif
