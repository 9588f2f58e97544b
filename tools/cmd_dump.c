/* cairn meta dump, load. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/net/loop.h"
#include "tools/commands.h"
#include "tools/connect.h"
#include "tools/dump_json.h"
#include "tools/member.h"
#include "tools/text.h"

enum {
    PIECE_RECORDS = 2048,
    PIECE_BYTES = 256 << 10,
    CHECK_WAIT_MS = 3600 * 1000,
    BUSY_TRIES = 50,
    BUSY_PAUSE_US = 200000,
};

static int connect_by(const struct arguments *a, struct blocking_client **ret_client)
{
    char cluster[CLUSTER_TEXT_MAX];
    int code = cluster_of(a, NULL, cluster);
    return code != EXIT_GOOD ? code : connect_to(cluster, false, ret_client);
}

/* A leader that hands over or is crowded is asked again. */
static int call(struct blocking_client *b, uint16_t code, struct slice body, uint16_t wanted,
                struct bytes *out, struct err_text *why)
{
    int status = -ERR_BUSY;
    uint16_t got = 0;
    for (unsigned i = 0; status == -ERR_BUSY && i < BUSY_TRIES; i++) {
        if (i > 0)
            (void)usleep(BUSY_PAUSE_US);
        bytes_clear(out);
        status = blocking_leader_call(b, code, body, &got, out, why);
    }
    return status == 0 && got != wanted ? -ERR_PROTOCOL : status;
}

/* ---- dump ---- */

static int fetch_piece(struct blocking_client *b, uint64_t dump, struct slice after,
                       struct bytes *answer, struct msg_meta_dump_r *ret, struct err_text *why)
{
    struct bytes body = {0};
    encode_meta_dump(&body, &(struct msg_meta_dump){.dump = dump, .after = after});
    int status = call(b, MSG_meta_dump, bytes_slice(&body), MSG_meta_dump_r, answer, why);
    bytes_release(&body);
    return status ? status : decode_meta_dump_r(bytes_slice(answer), WIRE_VERSION, ret);
}

static int dump_all(struct blocking_client *b, struct err_text *why)
{
    struct bytes answer = {0}, last = {0};
    struct dump_counts counts = {0};
    struct msg_meta_dump_r r = {.end = 0};
    int status = 0;
    for (bool is_first = true; status == 0 && !r.end && !ferror(stdout); is_first = false) {
        status = fetch_piece(b, r.dump, bytes_slice(&last), &answer, &r, why);
        if (status != 0)
            break;
        struct dump_header header = {.cluster = r.cluster,
                                     .index = r.index,
                                     .term = r.term,
                                     .inode_next = r.inode_next,
                                     .copies = r.copies};
        if (is_first)
            dump_print_header(stdout, &header);
        dump_print_rows(stdout, r.names.raw, r.chunks.raw, r.links.raw, r.inodes.raw, &counts);
        bytes_clear(&last);
        bytes_append(&last, r.last.data, r.last.size);
    }
    if (status == 0)
        dump_print_end(stdout, &counts);
    bytes_release(&answer);
    bytes_release(&last);
    return status;
}

int command_meta_dump(const struct arguments *a)
{
    struct blocking_client *client;
    struct err_text why = {""};
    int code = connect_by(a, &client);
    if (code != EXIT_GOOD)
        return code;
    int status = dump_all(client, &why);
    (void)blocking_stop(client);
    if (status != 0)
        return complain(status, "the dump is not complete (%s)", why.text);
    if (fflush(stdout) != 0 || ferror(stdout))
        return complain_text(EXIT_ERROR, "the dump is not complete: cannot write: %s",
                             strerror(errno));
    return EXIT_GOOD;
}

/* ---- load: the file ---- */

struct load {
    const char *path;
    FILE *file;
    uint64_t line_number;
    struct dump_header header;
    struct dump_counts counts, said;
    bool has_header, has_end;
    struct uuid id; /* of the contents */
    uint8_t digest[SHA1_SIZE];
    /* The piece that is gathered. */
    struct bytes names, chunks, links, inodes;
    struct msg_meta_load piece;
    uint64_t first_wanted; /* pieces below it are there */
    struct blocking_client *client;
    struct err_text why;
};

typedef int line_fn(struct load *l, const struct dump_line *line);

static int wrong_line(struct load *l, const char *what)
{
    return err_set(ERR_INVALID, &l->why, "%.80s, line %llu: %s", l->path,
                   (unsigned long long)l->line_number, what);
}

/* A chain of SHA-1: each line with the digest of those before it. */
static void mix_line(struct load *l, const char *line, size_t size)
{
    struct bytes all = {0};
    bytes_append(&all, l->digest, sizeof l->digest);
    bytes_append(&all, line, size);
    checksum_sha1(all.data, all.size, l->digest);
    bytes_release(&all);
}

static int each_line(struct load *l, line_fn *fn)
{
    char *text = NULL;
    size_t capacity = 0;
    ssize_t size;
    int status = 0;
    rewind(l->file);
    l->line_number = 0;
    memset(l->digest, 0, sizeof l->digest);
    while (status == 0 && (size = getline(&text, &capacity, l->file)) > 0) {
        struct dump_line line;
        struct err_text why = {""};
        l->line_number++;
        mix_line(l, text, (size_t)size);
        status = dump_line_parse(slice_of(text, (size_t)size), &line, &why);
        status = status ? wrong_line(l, why.text) : fn(l, &line);
        dump_line_release(&line);
    }
    free(text);
    if (status == 0 && ferror(l->file))
        status = err_set(ERR_IO, &l->why, "%s: %s", l->path, strerror(errno));
    return status;
}

/* The first pass: its form, so that nothing is begun with half a file. */
static int look_at_line(struct load *l, const struct dump_line *line)
{
    if (l->has_end)
        return wrong_line(l, "lines behind the end");
    if (l->has_header == (line->kind == DUMP_HEADER))
        return wrong_line(l, l->has_header ? "a second header" : "the header must come first");
    switch (line->kind) {
    case DUMP_HEADER:
        l->has_header = true;
        l->header = line->header;
        break;
    case DUMP_END:
        l->has_end = true;
        l->said = line->end;
        break;
    case DUMP_NAME:
        l->counts.names++;
        break;
    case DUMP_CHUNK:
        l->counts.chunks++;
        break;
    case DUMP_LINK:
        l->counts.links++;
        break;
    case DUMP_INODE:
        l->counts.inodes++;
        break;
    }
    return 0;
}

static int look_at_file(struct load *l)
{
    int status = each_line(l, look_at_line);
    if (status != 0)
        return status;
    if (!l->has_header || !l->has_end)
        return err_set(ERR_INVALID, &l->why, "%.120s: the end is missing: the dump is not complete",
                       l->path);
    if (memcmp(&l->counts, &l->said, sizeof l->counts) != 0)
        return err_set(ERR_INVALID, &l->why, "%.120s: lines are missing or too many", l->path);
    memcpy(l->id.bytes, l->digest, sizeof l->id.bytes);
    return 0;
}

/* ---- load: the pieces ---- */

static int begin_load(struct load *l)
{
    struct bytes body = {0}, answer = {0};
    struct msg_meta_load_begin_r r;
    struct msg_meta_load_begin ask = {.file = l->id,
                                      .cluster = l->header.cluster,
                                      .copies = l->header.copies,
                                      .inode_next = l->header.inode_next};
    encode_meta_load_begin(&body, &ask);
    int status = call(l->client, MSG_meta_load_begin, bytes_slice(&body), MSG_meta_load_begin_r,
                      &answer, &l->why);
    if (status == 0)
        status = decode_meta_load_begin_r(bytes_slice(&answer), WIRE_VERSION, &r);
    if (status == 0)
        l->first_wanted = r.piece;
    bytes_release(&body);
    bytes_release(&answer);
    return status;
}

static int send_piece(struct load *l)
{
    struct bytes body = {0}, answer = {0};
    int status = 0;
    l->piece.file = l->id;
    l->piece.names.raw = bytes_slice(&l->names);
    l->piece.chunks.raw = bytes_slice(&l->chunks);
    l->piece.links.raw = bytes_slice(&l->links);
    l->piece.inodes.raw = bytes_slice(&l->inodes);
    if (l->piece.piece >= l->first_wanted) {
        encode_meta_load(&body, &l->piece);
        status = call(l->client, MSG_meta_load, bytes_slice(&body), MSG_done_r, &answer, &l->why);
    }
    if (status == -ERR_INVALID)
        (void)err_set(ERR_INVALID, &l->why,
                      "%.80s, one of the lines up to %llu: refused (a name, number or place that "
                      "cannot be, or is there already)",
                      l->path, (unsigned long long)l->line_number);
    bytes_release(&body);
    bytes_release(&answer);
    bytes_clear(&l->names);
    bytes_clear(&l->chunks);
    bytes_clear(&l->links);
    bytes_clear(&l->inodes);
    l->piece = (struct msg_meta_load){.piece = l->piece.piece + 1};
    return status;
}

static uint32_t piece_count(const struct load *l)
{
    return l->piece.names.count + l->piece.chunks.count + l->piece.links.count +
           l->piece.inodes.count;
}

static int send_line(struct load *l, const struct dump_line *line)
{
    switch (line->kind) {
    case DUMP_HEADER:
        return 0;
    case DUMP_END:
        return piece_count(l) ? send_piece(l) : 0;
    case DUMP_NAME:
        put_rec_dump_name(&l->names, &line->name);
        l->piece.names.count++;
        break;
    case DUMP_CHUNK:
        put_rec_dump_chunk(&l->chunks, &line->chunk);
        l->piece.chunks.count++;
        break;
    case DUMP_LINK:
        put_rec_dump_link(&l->links, &line->link);
        l->piece.links.count++;
        break;
    case DUMP_INODE:
        put_rec_dump_inode(&l->inodes, &line->inode);
        l->piece.inodes.count++;
        break;
    }
    bool is_full = piece_count(l) >= PIECE_RECORDS || l->names.size + l->links.size >= PIECE_BYTES;
    return is_full ? send_piece(l) : 0;
}

/* The records make a tree: asked before anybody may use it. */
static int check_tree(const struct arguments *a, struct load *l)
{
    struct members all;
    struct bytes body = {0}, answer = {0};
    struct msg_fsck_r r;
    struct rec_fsck_finding finding;
    int code = members_with_leader(a, &all);
    if (code != EXIT_GOOD)
        return -ERR_NOT_LEADER;
    encode_fsck(&body, &(struct msg_fsck){.findings_max = 1});
    int status = member_ask(all.leader->address, MSG_fsck, bytes_slice(&body), CHECK_WAIT_MS,
                            MSG_fsck_r, &answer, &l->why);
    if (status == 0)
        status = decode_fsck_r(bytes_slice(&answer), WIRE_VERSION, &r);
    struct slice cursor = status == 0 ? r.findings.raw : slice_of("", 0);
    if (status == 0 && rec_fsck_finding_next(&cursor, &finding))
        status = err_set(ERR_INVALID, &l->why,
                         "%.60s does not make a sound tree (%.*s); nothing of it can be used: make "
                         "a new cluster",
                         l->path, finding.text.size > 90 ? 90 : (int)finding.text.size,
                         (const char *)finding.text.data);
    bytes_release(&body);
    bytes_release(&answer);
    members_release(&all);
    return status;
}

static int end_load(struct load *l)
{
    struct bytes body = {0}, answer = {0};
    struct msg_meta_load_end ask = {
        .file = l->id, .piece = l->piece.piece, .inodes = l->counts.inodes};
    encode_meta_load_end(&body, &ask);
    int status =
        call(l->client, MSG_meta_load_end, bytes_slice(&body), MSG_done_r, &answer, &l->why);
    bytes_release(&body);
    bytes_release(&answer);
    return status;
}

static int load_all(const struct arguments *a, struct load *l)
{
    int status = begin_load(l);
    if (status == 0)
        status = each_line(l, send_line);
    if (status == 0)
        status = check_tree(a, l);
    return status ? status : end_load(l);
}

static int complain_of_load(const struct load *l, int status)
{
    if (status == -ERR_REFUSED || status == -ERR_NOT_EMPTY_STATE)
        return complain_text(EXIT_REFUSED, "refused: %s", l->why.text);
    if (status == -ERR_INVALID)
        return complain_text(EXIT_ERROR, "%s", l->why.text[0] ? l->why.text : "the dump is wrong");
    return complain(status, "not loaded to its end; the same command goes on (%s)", l->why.text);
}

int command_meta_load(const struct arguments *a)
{
    struct load l = {.path = a->words[0]};
    char names[TEXT_SIZE], inodes[TEXT_SIZE], took[TEXT_SIZE];
    uint64_t begun = loop_now_ms();
    l.file = fopen(l.path, "re");
    if (!l.file)
        return complain_text(EXIT_NOT_FOUND, "%s: %s", l.path, strerror(errno));
    int status = look_at_file(&l);
    int code = status ? complain_of_load(&l, status) : connect_by(a, &l.client);
    if (status == 0 && code == EXIT_GOOD) {
        status = load_all(a, &l);
        (void)blocking_stop(l.client);
        if (status != 0)
            code = complain_of_load(&l, status);
        else
            (void)printf("loaded %s inodes and %s names in %s\n",
                         text_count(l.counts.inodes, inodes), text_count(l.counts.names, names),
                         text_duration(loop_now_ms() - begun, took));
    }
    (void)fclose(l.file);
    bytes_release(&l.names);
    bytes_release(&l.chunks);
    bytes_release(&l.links);
    bytes_release(&l.inodes);
    return code;
}
