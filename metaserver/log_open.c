/* Opens a log folder: makes a new one, or checks its identity and recovers what it holds. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "metaserver/log_store_private.h"
#include "common/base/banned.h"

void log_store_options_defaults(struct log_store_options *ret_options)
{
    *ret_options = (struct log_store_options){
        .segment_size_bytes = LOG_SEGMENT_SIZE_DEFAULT,
        .ballast_size_bytes = LOG_BALLAST_SIZE_DEFAULT,
    };
}

static void vote_image_first(const struct log_identity *identity, uint8_t *ret_image)
{
    struct log_vote_record record = {.cluster = identity->cluster, .node = identity->node};
    record.sequence = 1;
    log_vote_pack(&record, ret_image + LOG_BLOCK_SIZE);
    record.sequence = 2;
    log_vote_pack(&record, ret_image);
}

/* The identity comes last: a crash before it leaves a folder that is made again from the start,
 * provided that the vote file found there was never used. */
static int folder_format(struct log_store *store, const struct log_listing *listing,
                         struct err_text *why)
{
    struct log_identity identity = {.cluster = store->cluster,
                                    .node = store->node,
                                    .segment_size_bytes = store->segment_size_bytes};
    uint8_t first[LOG_VOTE_FILE_SIZE], found[LOG_VOTE_FILE_SIZE];
    vote_image_first(&identity, first);
    if (listing->segment_count > 0)
        return err_set(ERR_NOT_EMPTY_STATE, why, "%s: holds log segments but no identity file",
                       store->folder);
    if (listing->vote) {
        size_t size;
        int result = log_file_load(store->folder_fd, "vote", found, sizeof found, &size);
        if (result != 0)
            return err_set((enum err) - result, why, "%s: the vote file cannot be read: %s",
                           store->folder, err_text(result));
        if (size != sizeof found || memcmp(first, found, sizeof found) != 0)
            return err_set(ERR_NOT_EMPTY_STATE, why, "%s: holds a vote file but no identity file",
                           store->folder);
    }
    int result = log_file_replace(store->folder_fd, "vote", first, sizeof first);
    if (result == 0)
        result = log_identity_write(store->folder_fd, &identity);
    return result == 0 ? 0
                       : err_set((enum err) - result, why, "%s: cannot be formatted: %s",
                                 store->folder, err_text(result));
}

static int identity_check(struct log_store *store, struct err_text *why)
{
    struct log_identity identity;
    struct err_text inner = {""};
    int result = log_identity_read(store->folder_fd, &identity, &inner);
    if (result != 0)
        return err_set((enum err) - result, why, "%s: %s", store->folder, inner.text);
    char cluster[UUID_TEXT_SIZE];
    uuid_format(&identity.cluster, cluster);
    if (memcmp(&identity.cluster, &store->cluster, sizeof identity.cluster) != 0)
        return err_set(ERR_WRONG_CLUSTER, why, "%s: belongs to cluster %s", store->folder, cluster);
    if (identity.node != store->node)
        return err_set(ERR_WRONG_CLUSTER, why, "%s: belongs to node %" PRIu32 ", not %" PRIu32,
                       store->folder, identity.node, store->node);
    store->segment_size_bytes = identity.segment_size_bytes;
    return 0;
}

static int vote_load(struct log_store *store, uint64_t *repaired_count, struct err_text *why)
{
    uint8_t image[LOG_VOTE_FILE_SIZE];
    size_t size = 0;
    int result = log_file_load(store->folder_fd, "vote", image, sizeof image, &size);
    if (result == -ERR_NO_ENTRY)
        return err_set(ERR_FAULTY_LOG, why, "%s: the vote file is missing", store->folder);
    if (result == 0 && size != sizeof image)
        return err_set(ERR_FAULTY_LOG, why, "%s: the vote file has the wrong size", store->folder);
    if (result != 0)
        return err_set((enum err) - result, why, "%s: the vote file cannot be read: %s",
                       store->folder, err_text(result));
    bool repaired;
    result = log_vote_unpack(image, &store->cluster, store->node, &store->record, &repaired, why);
    if (result != 0)
        return result;
    *repaired_count += repaired;
    store->vote = store->record.vote;
    store->vote_fd = openat(store->folder_fd, "vote", O_RDWR | O_CLOEXEC);
    if (store->vote_fd >= 0)
        return 0;
    result = err_from_errno(errno);
    return err_set((enum err) - result, why, "%s: the vote file cannot be opened: %s",
                   store->folder, err_text(result));
}

static int segment_open(struct log_store *store, const struct log_file_name *name,
                        struct log_recover *recover, uint8_t *image, bool *ret_whole)
{
    char text[LOG_NAME_SIZE];
    log_file_name_format(name, text);
    struct log_segment *segment = calloc(1, sizeof *segment);
    CHECK(segment != NULL);
    *segment = (struct log_segment){.number = name->number, .first_batch = name->first_batch};
    segment->fd = openat(store->folder_fd, text, O_RDWR | O_CLOEXEC);
    if (segment->fd < 0) {
        int failed = errno;
        free(segment);
        return err_from_errno(failed);
    }
    store->segments[store->segment_count++] = segment;
    int result = log_segment_load(segment->fd, image, store->segment_size_bytes, ret_whole);
    if (result == 0)
        log_recover_segment(recover, name->number, name->first_batch, image,
                            store->segment_block_count);
    return result;
}

static void adopt(struct log_store *store, struct log_recover *recover,
                  const struct log_recovery *recovery, bool last_whole)
{
    store->extents = recover->extents;
    recover->extents = (struct log_extents){0};
    store->base_index = recover->base_index;
    store->last_synced = store->last_appended = recover->last_index;
    store->faulty = recovery->verdict == LOG_FAULTY;
    store->faulty_from = recovery->faulty_from;
    store->faulty_to = recovery->faulty_to;
    store->next_batch = recover->next_batch;
    store->segment_highest = recover->segment_last;
    store->tail = store->segment_count ? store->segments[store->segment_count - 1] : NULL;
    store->tail_usable = store->tail && recover->tail_usable && last_whole;
    store->tail_block = recover->tail_block;
    store->tail_written = recover->tail_block > 0;
}

static int segments_load(struct log_store *store, const struct log_listing *listing,
                         const struct log_sink *sink, struct log_recovery *ret_recovery,
                         struct err_text *why)
{
    struct log_recover recover;
    log_recover_init(&recover, &store->cluster, store->node);
    recover.sink = *sink;
    uint8_t *image = aligned_alloc(LOG_BLOCK_SIZE, store->segment_size_bytes);
    store->segments = calloc(listing->segment_count + 1, sizeof *store->segments);
    CHECK(image != NULL && store->segments != NULL);
    int result = 0;
    bool whole = true;
    for (size_t i = 0; i < listing->segment_count && result == 0; i++) {
        result = segment_open(store, &listing->segments[i], &recover, image, &whole);
        if (result != 0)
            (void)err_set((enum err) - result, why, "%s: segment %" PRIu64 " cannot be opened: %s",
                          store->folder, listing->segments[i].number, err_text(result));
    }
    if (result == 0) {
        log_recover_finish(&recover, store->record.segment_highest, ret_recovery);
        adopt(store, &recover, ret_recovery, whole);
    }
    log_recover_release(&recover);
    free(image);
    return result;
}

static void spares_adopt(struct log_store *store, const struct log_listing *listing)
{
    for (size_t i = 0; i < listing->spare_count; i++) {
        uint64_t number = listing->spares[i].number;
        if (store->spare_next <= number)
            store->spare_next = number + 1;
        if (store->spare_count < LOG_SPARE_COUNT_MAX) {
            store->spares[store->spare_count++] = number;
        } else {
            char text[LOG_NAME_SIZE];
            log_file_name_format(&listing->spares[i], text);
            (void)log_file_remove(store->folder_fd, text);
        }
    }
    store->ballast_present = listing->ballast;
}

static int folder_load(struct log_store *store, const struct log_store_options *options,
                       struct log_recovery *ret_recovery, struct err_text *why)
{
    struct log_listing listing;
    int result = log_folder_list(store->folder_fd, &listing);
    if (result != 0)
        return err_set((enum err) - result, why, "%s: cannot be listed: %s", store->folder,
                       err_text(result));
    if (!listing.identity && !options->create)
        result = err_set(ERR_NO_ENTRY, why,
                         "%s: not a metadata log (no identity file); is the disk mounted?",
                         store->folder);
    else if (!listing.identity)
        result = folder_format(store, &listing, why);
    uint64_t repaired_count = 0;
    if (result == 0)
        result = identity_check(store, why);
    if (result == 0)
        result = vote_load(store, &repaired_count, why);
    store->segment_block_count = (uint32_t)(store->segment_size_bytes / LOG_BLOCK_SIZE);
    if (result == 0)
        result = segments_load(store, &listing, &options->sink, ret_recovery, why);
    if (result == 0) {
        ret_recovery->repaired_count += repaired_count;
        spares_adopt(store, &listing);
    }
    log_listing_release(&listing);
    return result;
}

static void mutexes_init(struct log_store *store)
{
    CHECK(pthread_mutex_init(&store->vote_lock, NULL) == 0);
    CHECK(pthread_mutex_init(&store->files_lock, NULL) == 0);
    CHECK(pthread_mutex_init(&store->table_lock, NULL) == 0);
}

int log_store_open(const char *folder, const struct uuid *cluster, uint32_t node,
                   const struct log_store_options *options, struct log_store **ret_store,
                   struct log_recovery *ret_recovery, struct err_text *why)
{
    struct log_store *store = calloc(1, sizeof *store);
    CHECK(store != NULL);
    *store = (struct log_store){.magic = LOG_STORE_MAGIC,
                                .folder = strdup(folder),
                                .folder_fd = -1,
                                .vote_fd = -1,
                                .cluster = *cluster,
                                .node = node,
                                .ballast_size_bytes = options->ballast_size_bytes};
    mutexes_init(store);
    uint64_t size = options->segment_size_bytes;
    size = size < LOG_SEGMENT_SIZE_MIN ? LOG_SEGMENT_SIZE_MIN : size;
    store->segment_size_bytes = (size + LOG_BLOCK_SIZE - 1) / LOG_BLOCK_SIZE * LOG_BLOCK_SIZE;
    struct log_recovery recovery;
    int result = log_folder_open(folder, options->create, &store->folder_fd, why);
    /* Names that a process made which died before it synced them, or by an error of that, are built
     * upon from now on. */
    if (result == 0 && fsync(store->folder_fd) != 0) {
        result = err_from_errno(errno);
        (void)err_set((enum err) - result, why, "%s: %s", folder, err_text(result));
    }
    if (result == 0)
        result = folder_load(store, options, &recovery, why);
    if (result != 0) {
        log_store_close(store);
        return result;
    }
    /* Best effort: a full disk must not keep a node from starting (R21). */
    (void)log_store_prepare_spare(store);
    (void)log_store_ballast_restore(store);
    *ret_store = store;
    if (ret_recovery)
        *ret_recovery = recovery;
    return 0;
}

void log_store_close(struct log_store *store)
{
    if (!store)
        return;
    CHECK_OBJ(store, LOG_STORE_MAGIC);
    for (size_t i = 0; i < store->segment_count; i++) {
        (void)close(store->segments[i]->fd);
        free(store->segments[i]);
    }
    if (store->vote_fd >= 0)
        (void)close(store->vote_fd);
    if (store->folder_fd >= 0)
        (void)close(store->folder_fd);
    free(store->segments);
    free(store->extents.items);
    free(store->offsets);
    free(store->image);
    bytes_release(&store->payload);
    CHECK(pthread_mutex_destroy(&store->vote_lock) == 0);
    CHECK(pthread_mutex_destroy(&store->files_lock) == 0);
    CHECK(pthread_mutex_destroy(&store->table_lock) == 0);
    store->magic = 0;
    free(store->folder);
    free(store);
}
