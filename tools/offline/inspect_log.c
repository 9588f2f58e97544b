/* cairn-inspect log: segments, batches, entries, and the verdict that a start would reach. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/wire/codec.h"
#include "metaserver/fs/fs.h"
#include "metaserver/log_files.h"
#include "metaserver/log_recover.h"
#include "metaserver/log_vote.h"
#include "metaserver/raft/raft.h"
#include "tools/json.h"
#include "tools/offline/inspect.h"
#include "tools/text.h"

enum { LOOKS_MAX = 5, PAUSE_US = 200000 };

struct log_look {
    int folder_fd;
    struct log_identity identity;
    struct log_vote_record vote;
    struct log_listing listing;
    struct log_recover recover;
    struct log_recovery recovery;
    uint8_t *image;
    uint64_t batches, entries, unreadable;
    bool json, show_batches, show_entries, is_quiet, has_vanished;
};

/* ---- reading without a trace ---- */

static int load_small(int folder_fd, const char *name, void *ret, size_t size, size_t *ret_size)
{
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    ssize_t done = pread(fd, ret, size, 0);
    int status = done < 0 ? err_from_errno(errno) : 0;
    (void)close(fd);
    *ret_size = done < 0 ? 0 : (size_t)done;
    return status;
}

/* What cannot be read, or is missing, counts as rot, as at a start. */
static void load_blocks(int fd, uint8_t *image, uint64_t size)
{
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* the disk's bytes, where they are clean */
    if (log_read_all(fd, image, size, 0) == 0)
        return;
    for (uint64_t at = 0; at < size; at += LOG_BLOCK_SIZE)
        if (log_read_all(fd, image + at, LOG_BLOCK_SIZE, at) != 0)
            memset(image + at, LOG_UNREADABLE, LOG_BLOCK_SIZE);
}

/* A running metaserver turns old segments into spares and may use them again: a name that went
 * while its file was read makes what was read worthless. */
static bool is_still(struct log_look *l, const char *name, int fd)
{
    struct stat by_name, by_fd;
    return fstatat(l->folder_fd, name, &by_name, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstat(fd, &by_fd) == 0 && by_name.st_ino == by_fd.st_ino;
}

/* ---- printing ---- */

static const char *kind_name(uint8_t kind)
{
    static const char *const names[] = {"?", "noop", "command", "config"};
    return kind <= RAFT_ENTRY_CONFIG ? names[kind] : "?";
}

static void print_entry(const struct log_look *l, const struct log_entry *e)
{
    struct fs_command c;
    const char *message = "-";
    if (e->kind == RAFT_ENTRY_COMMAND) {
        message = "(malformed)";
        if (fs_command_decode(e->data, &c) == 0)
            message = msg_name(c.code) ? msg_name(c.code) : "(unknown)";
    }
    if (l->json)
        json_print_line(json_pack("{s:s s:o s:o s:s s:s s:i}", "kind", "entry", "index",
                                  json_of_number(e->index), "term", json_of_number(e->term), "type",
                                  kind_name(e->kind), "message", message, "bytes",
                                  (int)e->data.size));
    else
        (void)printf("    entry %-10llu term %-5llu %-8s %-20s %zu B\n",
                     (unsigned long long)e->index, (unsigned long long)e->term, kind_name(e->kind),
                     message, e->data.size);
}

static void print_batch(const struct log_look *l, const struct log_header *h, uint32_t block,
                        const char *state)
{
    if (l->json)
        json_print_line(json_pack(
            "{s:s s:o s:o s:i s:o s:i s:i s:b s:s}", "kind", "batch", "segment",
            json_of_number(h->segment), "batch", json_of_number(h->batch), "block", (int)block,
            "first_index", json_of_number(h->first_index), "entries", (int)h->count, "bytes",
            (int)h->payload_size, "reset", (h->flags & LOG_BATCH_RESET) != 0, "state", state));
    else
        (void)printf("  batch %-8llu block %-6u first index %-10llu %u entries  %u B%s  %s\n",
                     (unsigned long long)h->batch, block, (unsigned long long)h->first_index,
                     h->count, h->payload_size, h->flags & LOG_BATCH_RESET ? "  reset" : "", state);
}

static void print_entries(const struct log_look *l, const struct log_header *h,
                          struct slice payload)
{
    struct log_entry entry;
    size_t at = 0;
    for (uint32_t i = 0; i < h->count; i++)
        if (log_entry_unpack(payload, &at, h->first_index + i, &entry))
            print_entry(l, &entry);
}

/* ---- one segment ---- */

struct tally {
    uint64_t batches, entries, bad;
    uint64_t first_index, last_index;
};

static void take_batch(struct log_look *l, const struct log_header *h, uint32_t block,
                       struct tally *t)
{
    const uint8_t *at = l->image + (size_t)block * LOG_BLOCK_SIZE;
    uint8_t *payload = malloc(h->payload_size + 1);
    CHECK(payload != NULL);
    bool good = log_batch_payload(h, at, payload);
    bool pristine = good && log_batch_pristine(h, at);
    t->batches++;
    t->bad += !pristine;
    if (good && h->count) {
        if (t->entries == 0)
            t->first_index = h->first_index;
        t->entries += h->count;
        t->last_index = h->first_index + h->count - 1;
    }
    if (!l->is_quiet && (l->show_batches || l->show_entries || !pristine))
        print_batch(l, h, block,
                    pristine ? "good"
                    : good   ? "good, but a stamp or one header is damaged"
                             : "BAD: checksum wrong or not complete");
    if (!l->is_quiet && good && l->show_entries)
        print_entries(l, h, slice_of(payload, h->payload_size));
    free(payload);
}

static void walk_batches(struct log_look *l, uint64_t segment, uint32_t block_count,
                         struct tally *t)
{
    struct log_owner owner = {
        .cluster = l->identity.cluster, .node = l->identity.node, .segment = segment};
    for (uint32_t block = 0; block < block_count;) {
        const uint8_t *at = l->image + (size_t)block * LOG_BLOCK_SIZE;
        struct log_header h;
        if (log_batch_header(at, block_count - block, &owner, &h)) {
            take_batch(l, &h, block, t);
            block += (uint32_t)log_blocks_for(h.payload_size);
            continue;
        }
        /* The end, or a batch without its headers: whatever comes behind it is shown, too. */
        do
            block++;
        while (block < block_count &&
               !log_batch_header_in_place(l->image + (size_t)block * LOG_BLOCK_SIZE,
                                          block_count - block, &owner, &h));
    }
}

static void print_segment(const struct log_look *l, const struct log_file_name *name,
                          const struct tally *t)
{
    if (l->json)
        json_print_line(json_pack(
            "{s:s s:o s:o s:o s:o s:o s:o s:o}", "kind", "segment", "segment",
            json_of_number(name->number), "first_batch", json_of_number(name->first_batch),
            "batches", json_of_number(t->batches), "entries", json_of_number(t->entries),
            "first_index", json_of_number(t->first_index), "last_index",
            json_of_number(t->last_index), "damaged_batches", json_of_number(t->bad)));
    else if (t->entries)
        (void)printf("segment %llu  first batch %llu  %llu batches  entries %llu to %llu%s\n",
                     (unsigned long long)name->number, (unsigned long long)name->first_batch,
                     (unsigned long long)t->batches, (unsigned long long)t->first_index,
                     (unsigned long long)t->last_index, t->bad ? "  DAMAGED" : "");
    else
        (void)printf("segment %llu  first batch %llu  %llu batches  no entries%s\n",
                     (unsigned long long)name->number, (unsigned long long)name->first_batch,
                     (unsigned long long)t->batches, t->bad ? "  DAMAGED" : "");
}

static void look_at_segment(struct log_look *l, const struct log_file_name *name)
{
    char text[LOG_NAME_SIZE];
    struct tally t = {0};
    uint32_t block_count = (uint32_t)(l->identity.segment_size_bytes / LOG_BLOCK_SIZE);
    log_file_name_format(name, text);
    int fd = openat(l->folder_fd, text, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        l->has_vanished = true;
        return;
    }
    if (fd < 0)
        memset(l->image, LOG_UNREADABLE, l->identity.segment_size_bytes);
    else
        load_blocks(fd, l->image, l->identity.segment_size_bytes);
    l->has_vanished |= fd >= 0 && !is_still(l, text, fd);
    if (fd >= 0)
        (void)close(fd);
    log_recover_segment(&l->recover, name->number, name->first_batch, l->image, block_count);
    walk_batches(l, name->number, block_count, &t);
    l->batches += t.batches;
    l->entries += t.entries;
    if (!l->is_quiet)
        print_segment(l, name, &t);
}

/* ---- the whole ---- */

static int load_vote(struct log_look *l, struct err_text *why)
{
    uint8_t image[LOG_VOTE_FILE_SIZE];
    size_t size;
    bool repaired = false;
    int status = load_small(l->folder_fd, "vote", image, sizeof image, &size);
    if (status == 0 && size != sizeof image)
        status = err_set(ERR_FAULTY_LOG, why, "vote: wrong size");
    if (status == 0)
        status = log_vote_unpack(image, &l->identity.cluster, l->identity.node, &l->vote, &repaired,
                                 why);
    else
        (void)err_set((enum err) - status, why, "vote: %s", err_text(status));
    return status;
}

static int load_identity(struct log_look *l, struct err_text *why)
{
    char text[LOG_IDENTITY_SIZE_MAX];
    size_t size;
    int status = load_small(l->folder_fd, "identity", text, sizeof text, &size);
    if (status != 0)
        return err_set((enum err) - status, why, "identity: %s", err_text(status));
    return log_identity_parse(text, size, &l->identity, why);
}

static void look_once(struct log_look *l)
{
    l->has_vanished = false;
    l->batches = l->entries = 0;
    log_recover_init(&l->recover, &l->identity.cluster, l->identity.node);
    for (size_t i = 0; i < l->listing.segment_count; i++)
        look_at_segment(l, &l->listing.segments[i]);
    log_recover_finish(&l->recover, l->vote.segment_highest, &l->recovery);
    log_recover_release(&l->recover);
}

/* While a metaserver writes, a look may catch a batch half written, or segments that change: the
 * verdict counts when it is clean, or the same trouble is there again and again. */
static int look_until_quiet(struct log_look *l, bool in_use, struct err_text *why)
{
    int status = 0;
    l->is_quiet = true;
    for (unsigned i = 0; status == 0 && i < LOOKS_MAX; i++) {
        if (i > 0)
            (void)usleep(PAUSE_US);
        log_listing_release(&l->listing);
        status = load_vote(l, why);
        if (status == 0)
            status = log_folder_look(l->folder_fd, &l->listing);
        if (status != 0 || !in_use)
            break;
        look_once(l);
        if (!l->has_vanished && l->recovery.verdict == LOG_CLEAN)
            break;
    }
    l->is_quiet = false;
    return status;
}

static int print_verdict(const struct log_look *l)
{
    const struct log_recovery *r = &l->recovery;
    static const char *const names[] = {"?", "clean", "torn tail", "faulty"};
    if (l->json)
        json_print_line(json_pack(
            "{s:s s:s s:o s:o s:o s:o s:o s:o s:o s:s}", "kind", "verdict", "verdict",
            names[r->verdict], "first_index", json_of_number(r->first_index), "last_index",
            json_of_number(r->last_index), "batches", json_of_number(l->batches), "cut_index",
            json_of_number(r->cut_index), "faulty_from", json_of_number(r->faulty_from),
            "faulty_to", json_of_number(r->faulty_to), "repaired",
            json_of_number(r->repaired_count), "reason", r->reason.text));
    else if (r->verdict == LOG_TORN_TAIL)
        (void)printf("verdict  torn tail: %s\n"
                     "         never acknowledged; a start cuts it off at index %llu by itself\n",
                     r->reason.text, (unsigned long long)r->cut_index);
    else if (r->verdict == LOG_FAULTY)
        (void)printf("verdict  FAULTY from index %llu: %s\n"
                     "         acknowledged entries are lost here: refill this metaserver from the "
                     "others (docs/operations.md)\n",
                     (unsigned long long)r->faulty_from, r->reason.text);
    else
        (void)printf("verdict  clean: entries %llu to %llu\n", (unsigned long long)r->first_index,
                     (unsigned long long)r->last_index);
    if (!l->json && r->repaired_count)
        (void)printf("         %llu batches have damage in redundant parts, which costs nothing; "
                     "look at the disk\n",
                     (unsigned long long)r->repaired_count);
    return r->verdict == LOG_CLEAN && r->repaired_count == 0 ? EXIT_GOOD : EXIT_ERROR;
}

static void print_head(const struct log_look *l, const char *folder, int owner)
{
    char cluster[UUID_TEXT_SIZE], size[TEXT_SIZE];
    uuid_format(&l->identity.cluster, cluster);
    if (l->json) {
        json_print_line(json_pack("{s:s s:s s:s s:i s:o s:o s:i s:i}", "kind", "log", "folder",
                                  folder, "cluster", cluster, "node", (int)l->identity.node,
                                  "segment_bytes", json_of_number(l->identity.segment_size_bytes),
                                  "term", json_of_number(l->vote.vote.term), "voted_for",
                                  (int)l->vote.vote.voted_for, "in_use_by", owner));
        return;
    }
    (void)printf("log      %s\n", folder);
    (void)printf("of       m%u of cluster %s   segments of %s   %zu spare\n", l->identity.node,
                 cluster, text_bytes(l->identity.segment_size_bytes, size), l->listing.spare_count);
    (void)printf("vote     term %llu, for %s%u\n", (unsigned long long)l->vote.vote.term,
                 l->vote.vote.voted_for ? "m" : "nobody: ", l->vote.vote.voted_for);
    if (owner)
        (void)printf("in use   by process %d: the verdict is of a moment\n", owner);
}

static int inspect(struct log_look *l, const char *folder)
{
    struct err_text why = {""};
    int status = load_identity(l, &why);
    if (status != 0)
        return complain_text(status == -ERR_FAULTY_LOG ? EXIT_ERROR : EXIT_USAGE, "%s: %s", folder,
                             why.text);
    l->image = aligned_alloc(LOG_BLOCK_SIZE, l->identity.segment_size_bytes);
    CHECK(l->image != NULL);
    int owner = inspect_owner(l->folder_fd);
    status = look_until_quiet(l, owner != 0, &why);
    if (status != 0)
        return complain_text(EXIT_ERROR, "%s: %s", folder,
                             why.text[0] ? why.text : err_text(status));
    print_head(l, folder, owner);
    look_once(l);
    return print_verdict(l);
}

int command_log(const struct arguments *a)
{
    char folder[INSPECT_PATH_MAX];
    struct log_look l = {.show_batches = option_given(a, "batches"),
                         .show_entries = option_given(a, "entries")};
    int code = inspect_form(a, &l.json);
    if (code != EXIT_GOOD)
        return code;
    if (!inspect_folder(a->words[0], "identity", "log", folder))
        return EXIT_USAGE;
    l.folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l.folder_fd < 0)
        return complain_text(EXIT_USAGE, "%s: %s", folder, strerror(errno));
    code = inspect(&l, folder);
    log_listing_release(&l.listing);
    free(l.image);
    (void)close(l.folder_fd);
    return code;
}
