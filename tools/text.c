/* Numbers for people, and tables. */
#include "tools/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

#include "common/base/banned.h"

const char *text_bytes(uint64_t bytes, char ret_text[TEXT_SIZE])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned unit = 0;
    uint64_t whole = bytes, rest = 0;
    while (whole >= 1024) {
        rest = whole % 1024;
        whole /= 1024;
        unit++;
    }
    if (unit == 0)
        snprintf(ret_text, TEXT_SIZE, "%" PRIu64 " B", bytes);
    else
        snprintf(ret_text, TEXT_SIZE, "%" PRIu64 ".%" PRIu64 " %s", whole, rest * 10 / 1024,
                 units[unit]);
    return ret_text;
}

const char *text_rate(uint64_t bytes, uint64_t ms, char ret_text[TEXT_SIZE])
{
    char size[TEXT_SIZE];
    if (ms == 0) {
        snprintf(ret_text, TEXT_SIZE, "-");
        return ret_text;
    }
    text_bytes((uint64_t)((double)bytes * 1000.0 / (double)ms), size);
    snprintf(ret_text, TEXT_SIZE, "%.30s/s", size);
    return ret_text;
}

const char *text_duration(uint64_t ms, char ret_text[TEXT_SIZE])
{
    uint64_t s = ms / 1000;
    if (s < 10)
        snprintf(ret_text, TEXT_SIZE, "%" PRIu64 ".%" PRIu64 " s", s, ms % 1000 / 100);
    else if (s < 60)
        snprintf(ret_text, TEXT_SIZE, "%" PRIu64 " s", s);
    else if (s < 3600)
        snprintf(ret_text, TEXT_SIZE, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(ret_text, TEXT_SIZE, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(ret_text, TEXT_SIZE, "%" PRIu64 "d %" PRIu64 "h", s / 86400, s / 3600 % 24);
    return ret_text;
}

const char *text_count(uint64_t number, char ret_text[TEXT_SIZE])
{
    char digits[TEXT_SIZE];
    size_t size = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, number), at = 0;
    for (size_t i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0)
            ret_text[at++] = ',';
        ret_text[at++] = digits[i];
    }
    ret_text[at] = '\0';
    return ret_text;
}

void text_table_init(struct text_table *t, unsigned columns)
{
    CHECK(columns > 0 && columns <= TABLE_COLUMNS_MAX);
    *t = (struct text_table){.columns = columns};
}

void text_table_release(struct text_table *t)
{
    free(t->cells);
    *t = (struct text_table){0};
}

void text_table_row(struct text_table *t, const char *const *texts)
{
    if (t->rows == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 16;
        t->cells = realloc(t->cells, (size_t)t->capacity * t->columns * sizeof *t->cells);
        CHECK(t->cells != NULL);
    }
    for (unsigned i = 0; i < t->columns; i++)
        snprintf(t->cells[(size_t)t->rows * t->columns + i], TABLE_CELL_MAX, "%s", texts[i]);
    t->rows++;
}

void text_table_print(const struct text_table *t)
{
    size_t width[TABLE_COLUMNS_MAX] = {0};
    for (unsigned i = 0; i < t->rows * t->columns; i++) {
        size_t size = strlen(t->cells[i]);
        if (size > width[i % t->columns])
            width[i % t->columns] = size;
    }
    for (unsigned i = 0; i < t->rows * t->columns; i++) {
        if (i % t->columns == t->columns - 1)
            printf("%s\n", t->cells[i]);
        else
            printf("%-*s  ", (int)width[i % t->columns], t->cells[i]);
    }
}
