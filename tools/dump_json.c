/* A dump of the namespace as lines of JSON. */
#include "tools/dump_json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/json.h"

#include "common/base/banned.h"

static const char *const type_names[] = {
    [INODE_FILE] = "file",   [INODE_DIRECTORY] = "directory", [INODE_SYMLINK] = "symlink",
    [INODE_FIFO] = "fifo",   [INODE_SOCKET] = "socket",       [INODE_CHARACTER] = "character",
    [INODE_BLOCK] = "block",
};
enum { TYPE_COUNT = sizeof type_names / sizeof type_names[0] };

/* ---- writing ---- */

static void print_line(FILE *out, json_t *take_line)
{
    json_dumpf(take_line, out, JSON_COMPACT | JSON_PRESERVE_ORDER);
    putc('\n', out);
    json_decref(take_line);
}

static json_t *begin_line(const char *kind)
{
    json_t *line = json_object();
    json_object_set_new(line, "kind", json_string(kind));
    return line;
}

static void set(json_t *line, const char *key, uint64_t number)
{
    json_object_set_new(line, key, json_integer((json_int_t)number));
}

/* Names are bytes: those that are no UTF-8 go into KEY_hex. */
static void set_text(json_t *line, const char *key, struct slice text)
{
    char hex_key[32];
    json_t *value = json_stringn((const char *)text.data, text.size);
    snprintf(hex_key, sizeof hex_key, "%s_hex", key);
    if (value)
        json_object_set_new(line, key, value);
    else
        json_object_set_new(line, hex_key, json_of_slice(text));
}

void dump_print_header(FILE *out, const struct dump_header *h)
{
    char cluster[UUID_TEXT_SIZE];
    json_t *line = begin_line("header");
    uuid_format(&h->cluster, cluster);
    json_object_set_new(line, "format", json_string("cairn-dump"));
    set(line, "version", DUMP_VERSION);
    json_object_set_new(line, "cluster", json_string(cluster));
    set(line, "index", h->index);
    set(line, "term", h->term);
    set(line, "copies", h->copies);
    set(line, "inode_next", h->inode_next);
    print_line(out, line);
}

static void print_name(FILE *out, const struct rec_dump_name *r)
{
    json_t *line = begin_line("name");
    set(line, "parent", r->parent);
    set_text(line, "name", r->name);
    set(line, "inode", r->inode);
    json_object_set_new(
        line, "type",
        json_string(r->type && r->type < TYPE_COUNT ? type_names[r->type] : "unknown"));
    set(line, "cookie", r->cookie);
    print_line(out, line);
}

static void print_chunk(FILE *out, const struct rec_dump_chunk *r)
{
    json_t *line = begin_line("chunk");
    set(line, "inode", r->inode);
    set(line, "index", r->index);
    set(line, "generation", r->generation);
    print_line(out, line);
}

static void print_link(FILE *out, const struct rec_dump_link *r)
{
    json_t *line = begin_line("link");
    set(line, "inode", r->inode);
    set_text(line, "target", r->link_target);
    print_line(out, line);
}

static void print_inode(FILE *out, const struct rec_dump_inode *r)
{
    char mode[16];
    json_t *line = begin_line("inode");
    snprintf(mode, sizeof mode, "%06o", r->mode);
    set(line, "inode", r->number);
    json_object_set_new(line, "mode", json_string(mode));
    set(line, "nlink", r->nlink);
    set(line, "uid", r->uid);
    set(line, "gid", r->gid);
    set(line, "size", r->size);
    json_object_set_new(line, "atime_ns", json_integer(r->atime_ns));
    json_object_set_new(line, "mtime_ns", json_integer(r->mtime_ns));
    json_object_set_new(line, "ctime_ns", json_integer(r->ctime_ns));
    set(line, "copies", r->copies);
    if (r->parent)
        set(line, "parent", r->parent);
    if (r->rdev)
        set(line, "rdev", r->rdev);
    if (r->chunk_generation) {
        set(line, "chunk_generation", r->chunk_generation);
        set(line, "chunk_total", r->chunk_total);
        set(line, "first_generation", r->first_generation);
    }
    print_line(out, line);
}

#define PRINT_ALL(kind, list)                         \
    do {                                              \
        struct rec_dump_##kind r;                     \
        struct slice cursor = (list);                 \
        while (rec_dump_##kind##_next(&cursor, &r)) { \
            print_##kind(out, &r);                    \
            counts->list++;                           \
        }                                             \
    } while (0)

void dump_print_rows(FILE *out, struct slice names, struct slice chunks, struct slice links,
                     struct slice inodes, struct dump_counts *counts)
{
    PRINT_ALL(name, names);
    PRINT_ALL(chunk, chunks);
    PRINT_ALL(link, links);
    PRINT_ALL(inode, inodes);
}

void dump_print_end(FILE *out, const struct dump_counts *counts)
{
    json_t *line = begin_line("end");
    set(line, "names", counts->names);
    set(line, "chunks", counts->chunks);
    set(line, "links", counts->links);
    set(line, "inodes", counts->inodes);
    print_line(out, line);
}

/* ---- reading ---- */

struct parse {
    struct dump_line *line;
    struct err_text *why;
    int status; /* the first error; later fields are skipped */
};

static void wrong(struct parse *p, const char *key, const char *what)
{
    if (p->status == 0)
        p->status = err_set(ERR_INVALID, p->why, "\"%s\" %s", key, what);
}

static uint64_t number(struct parse *p, const char *key, uint64_t max, bool may_miss)
{
    const json_t *value = json_object_get(p->line->json, key);
    if (!value && may_miss)
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > max) {
        wrong(p, key, value ? "is not a number of the right size" : "is missing");
        return 0;
    }
    return (uint64_t)json_integer_value(value);
}

static uint64_t big(struct parse *p, const char *key)
{
    return number(p, key, INT64_MAX, false);
}

static uint32_t small(struct parse *p, const char *key)
{
    return (uint32_t)number(p, key, UINT32_MAX, false);
}

static int64_t time_ns(struct parse *p, const char *key)
{
    const json_t *value = json_object_get(p->line->json, key);
    if (!json_is_integer(value))
        wrong(p, key, "is not a number");
    return json_integer_value(value);
}

static const char *word(struct parse *p, const char *key)
{
    const char *text = json_string_value(json_object_get(p->line->json, key));
    if (!text)
        wrong(p, key, "is missing or no text");
    return text ? text : "";
}

static int digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static struct slice text(struct parse *p, const char *key)
{
    char hex_key[32];
    const json_t *plain = json_object_get(p->line->json, key);
    if (json_is_string(plain))
        return slice_of(json_string_value(plain), json_string_length(plain));
    snprintf(hex_key, sizeof hex_key, "%s_hex", key);
    const char *at = json_string_value(json_object_get(p->line->json, hex_key));
    for (; at && *at; at += 2) {
        int high = digit(at[0]), low = high < 0 ? -1 : digit(at[1]);
        if (low < 0) {
            at = NULL;
            break;
        }
        uint8_t byte = (uint8_t)(high << 4 | low);
        bytes_append(&p->line->raw, &byte, 1);
    }
    if (!at)
        wrong(p, key, "is missing or no text");
    return bytes_slice(&p->line->raw);
}

static void parse_header(struct parse *p, struct dump_header *h)
{
    if (strcmp(word(p, "format"), "cairn-dump") != 0)
        wrong(p, "format", "is not cairn-dump");
    else if (number(p, "version", UINT32_MAX, false) != DUMP_VERSION)
        wrong(p, "version", "is not 1, the one that this program knows");
    if (uuid_parse(word(p, "cluster"), &h->cluster) != 0)
        wrong(p, "cluster", "is not a uuid");
    h->index = big(p, "index");
    h->term = big(p, "term");
    h->copies = (uint8_t)number(p, "copies", COPIES_MAX, false);
    h->inode_next = big(p, "inode_next");
}

static void parse_name(struct parse *p, struct rec_dump_name *r)
{
    const char *type = word(p, "type");
    r->parent = big(p, "parent");
    r->inode = big(p, "inode");
    r->cookie = big(p, "cookie");
    r->name = text(p, "name");
    for (unsigned i = 1; i < TYPE_COUNT; i++)
        if (strcmp(type, type_names[i]) == 0)
            r->type = (uint8_t)i;
    if (r->type == 0)
        wrong(p, "type", "is not known");
    if (r->name.size == 0 || r->name.size > NAME_LENGTH_MAX)
        wrong(p, "name", "is empty or too long");
}

static void parse_chunk(struct parse *p, struct rec_dump_chunk *r)
{
    r->inode = big(p, "inode");
    r->index = small(p, "index");
    r->generation = small(p, "generation");
}

static void parse_link(struct parse *p, struct rec_dump_link *r)
{
    r->inode = big(p, "inode");
    r->link_target = text(p, "target");
    if (r->link_target.size == 0 || r->link_target.size > LINK_TARGET_MAX)
        wrong(p, "target", "is empty or too long");
}

static void parse_inode(struct parse *p, struct rec_dump_inode *r)
{
    char *end;
    const char *mode = word(p, "mode");
    unsigned long bits = strtoul(mode, &end, 8);
    if (!*mode || *end || bits > 0177777)
        wrong(p, "mode", "is not an octal number");
    r->mode = (uint32_t)bits;
    r->number = big(p, "inode");
    r->nlink = small(p, "nlink");
    r->uid = small(p, "uid");
    r->gid = small(p, "gid");
    r->size = big(p, "size");
    r->atime_ns = time_ns(p, "atime_ns");
    r->mtime_ns = time_ns(p, "mtime_ns");
    r->ctime_ns = time_ns(p, "ctime_ns");
    r->copies = (uint8_t)number(p, "copies", COPIES_MAX, false);
    r->parent = number(p, "parent", INT64_MAX, true);
    r->rdev = (uint32_t)number(p, "rdev", UINT32_MAX, true);
    r->chunk_generation = (uint32_t)number(p, "chunk_generation", UINT32_MAX, true);
    r->chunk_total = (uint32_t)number(p, "chunk_total", UINT32_MAX, true);
    r->first_generation = (uint32_t)number(p, "first_generation", UINT32_MAX, true);
}

static void parse_end(struct parse *p, struct dump_counts *c)
{
    c->names = big(p, "names");
    c->chunks = big(p, "chunks");
    c->links = big(p, "links");
    c->inodes = big(p, "inodes");
}

static enum dump_kind kind_of(const char *kind)
{
    static const char *const names[] = {
        [DUMP_HEADER] = "header", [DUMP_NAME] = "name",   [DUMP_CHUNK] = "chunk",
        [DUMP_LINK] = "link",     [DUMP_INODE] = "inode", [DUMP_END] = "end",
    };
    for (int i = DUMP_HEADER; i <= DUMP_END; i++)
        if (strcmp(kind, names[i]) == 0)
            return (enum dump_kind)i;
    return 0;
}

int dump_line_parse(struct slice text_of_line, struct dump_line *ret_line, struct err_text *why)
{
    struct parse p = {.line = ret_line, .why = why};
    json_error_t error;
    *ret_line = (struct dump_line){.kind = 0};
    ret_line->json = json_loadb((const char *)text_of_line.data, text_of_line.size, 0, &error);
    if (!json_is_object(ret_line->json))
        return err_set(ERR_INVALID, why, "not a JSON object%s%s", ret_line->json ? "" : ": ",
                       ret_line->json ? "" : error.text);
    ret_line->kind = kind_of(word(&p, "kind"));
    switch (ret_line->kind) {
    case DUMP_HEADER:
        parse_header(&p, &ret_line->header);
        break;
    case DUMP_NAME:
        parse_name(&p, &ret_line->name);
        break;
    case DUMP_CHUNK:
        parse_chunk(&p, &ret_line->chunk);
        break;
    case DUMP_LINK:
        parse_link(&p, &ret_line->link);
        break;
    case DUMP_INODE:
        parse_inode(&p, &ret_line->inode);
        break;
    case DUMP_END:
        parse_end(&p, &ret_line->end);
        break;
    default:
        wrong(&p, "kind", "is not known");
    }
    return p.status;
}

void dump_line_release(struct dump_line *line)
{
    json_decref(line->json);
    bytes_release(&line->raw);
    line->json = NULL;
}
