/* The parts of the mount that need no kernel. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuse/bdi.h"
#include "fuse/convert.h"
#include "fuse/directory.h"
#include "fuse/groups.h"
#include "fuse/options.h"
#include "fuse/raw.h"
#include "tests/unit/fuse/test_fuse.h"

/* Options of the command line and of fstab; wrong ones are named. */
static void options(void)
{
    struct options o;
    struct err_text why = {""};
    char name[] = "cairn-mount", f[] = "-f", flag[] = "-o", cluster[] = "a:1,b:2", at[] = "/mnt";
    char list[] = "ro,timeout=30s,attr_timeout=250ms,_netdev,write_buffer=16MiB,log=/tmp/x";
    char *good[] = {name, cluster, at, f, flag, list, NULL};
    CU_ASSERT_EQUAL(options_parse(6, good, false, &o, &why), 0);
    CU_ASSERT_STRING_EQUAL(o.cluster, "a:1,b:2");
    CU_ASSERT_TRUE(o.read_only && o.foreground && !o.allow_other);
    CU_ASSERT_EQUAL(o.timeout_ms, 30000);
    CU_ASSERT_EQUAL(o.attr_ms, 250);
    CU_ASSERT_EQUAL(o.write_buffer_bytes, 16 << 20);
    CU_ASSERT_STRING_EQUAL(o.log_file, "/tmp/x");
    char flags[OPTIONS_FLAGS_SIZE];
    CU_ASSERT_EQUAL(options_mount_flags(&o, flags, &why), 0);
    CU_ASSERT_STRING_EQUAL(flags,
                           "fsname=a:1\\,b:2,subtype=cairn,default_permissions,nosuid,nodev,ro");
    char wrong[] = "fast";
    char *bad[] = {name, cluster, at, flag, wrong, NULL};
    CU_ASSERT_EQUAL(options_parse(5, bad, false, &o, &why), -ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "fast"));
    CU_ASSERT_EQUAL(options_parse(2, bad, false, &o, &why), -ERR_CONFIG);
}

/* A mount point with files in it, or that is no folder, is refused with the reason. */
static void mount_points(void)
{
    struct options o = {0};
    struct err_text why = {""};
    char real[OPTIONS_PATH_SIZE], folder[] = "/tmp/cairn-fuse-XXXXXX", path[64];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    o.mount_point = folder;
    CU_ASSERT_EQUAL(options_check_mount_point(&o, real, &why), 0);
    snprintf(path, sizeof path, "%s/file", folder);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    CU_ASSERT_EQUAL(options_check_mount_point(&o, real, &why), -ERR_NOT_EMPTY);
    o.nonempty = true;
    CU_ASSERT_EQUAL(options_check_mount_point(&o, real, &why), 0);
    o.mount_point = path;
    CU_ASSERT_EQUAL(options_check_mount_point(&o, real, &why), -ERR_NOT_DIR);
    unlink(path);
    CU_ASSERT_EQUAL(options_check_mount_point(&o, real, &why), -ERR_CONFIG);
    rmdir(folder);
}

/* Attributes and flags survive the way to the kernel and back, times before 1970 too. */
static void conversions(void)
{
    struct wire_attr attr = {
        .inode = 7, .mode = S_IFREG | 0640, .size = 513, .mtime_ns = -1, .nlink = 2};
    struct stat st = convert_stat(&attr);
    CU_ASSERT_EQUAL(st.st_blocks, 2);
    CU_ASSERT_EQUAL(st.st_mtim.tv_sec, -1);
    CU_ASSERT_EQUAL(st.st_mtim.tv_nsec, 999999999);
    struct client_setattr set =
        convert_setattr(&st, FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MODE);
    CU_ASSERT_EQUAL(set.valid, SETATTR_MTIME | SETATTR_ATIME_NOW | SETATTR_MODE);
    CU_ASSERT_EQUAL(set.mtime_ns, -1);
    CU_ASSERT_EQUAL(set.mode, 0640);
    CU_ASSERT_EQUAL(convert_open_flags(O_RDWR | O_TRUNC), OPEN_READ | OPEN_WRITE | OPEN_TRUNCATE);
    CU_ASSERT_EQUAL(convert_open_flags(O_RDONLY), OPEN_READ);
    CU_ASSERT_EQUAL(convert_open_flags(O_WRONLY), OPEN_WRITE);
    CU_ASSERT_EQUAL(convert_fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE),
                    CLIENT_PUNCH_HOLE);
    CU_ASSERT_EQUAL(convert_fallocate(FALLOC_FL_COLLAPSE_RANGE), 0);
}

static int count_reads(void *arg, uint32_t *ret_groups, unsigned count_max)
{
    (void)count_max;
    ++*(unsigned *)arg;
    ret_groups[0] = 100;
    return 1;
}

/* The groups of a process are read once a second, anew when it changed its user. */
static void groups(void)
{
    struct group_cache *cache = calloc(1, sizeof *cache);
    unsigned reads = 0;
    CU_ASSERT_EQUAL(group_cache_get(cache, 5, 1, 1, 10, count_reads, &reads)->groups[0], 100);
    (void)group_cache_get(cache, 5, 1, 1, 1009, count_reads, &reads);
    CU_ASSERT_EQUAL(reads, 1);
    (void)group_cache_get(cache, 5, 2, 1, 1009, count_reads, &reads);
    CU_ASSERT_EQUAL(reads, 2);
    (void)group_cache_get(cache, 5, 2, 1, 3000, count_reads, &reads);
    CU_ASSERT_EQUAL(reads, 3);
    free(cache);
}

/* A batch serves what lies in it and nothing else. */
static void directories(void)
{
    struct client_dirent entries[3] = {
        {.cookie = 10, .name = slice_str("a")},
        {.cookie = 20, .name = slice_str("bb")},
        {.cookie = 30, .name = slice_str("ccc")},
    };
    struct directory d = {.inode = 1};
    unsigned index = 9;
    CU_ASSERT_FALSE(directory_find(&d, 0, 1, &index));
    directory_put(&d, 5, entries, 3, false, 100);
    CU_ASSERT_TRUE(directory_find(&d, 5, 1, &index));
    CU_ASSERT_EQUAL(index, 0);
    CU_ASSERT_TRUE(directory_find(&d, 20, 1, &index));
    CU_ASSERT_EQUAL(index, 2);
    CU_ASSERT_TRUE(slice_equal(d.entries[2].name, slice_str("ccc")));
    CU_ASSERT_FALSE(directory_find(&d, 30, 1, &index)); /* more follow, not here */
    CU_ASSERT_FALSE(directory_find(&d, 20, 100, &index));
    directory_put(&d, 5, entries, 3, true, 100);
    CU_ASSERT_TRUE(directory_find(&d, 30, 1, &index));
    CU_ASSERT_EQUAL(index, 3);
    directory_release(&d);
}

/* INIT's answer gets the flags libfuse forgets, only where the kernel offers them. */
static void init_is_patched(void)
{
    struct {
        struct fuse_in_header header;
        struct fuse_init_in in;
    } request = {.header = {.opcode = FUSE_INIT}, .in = {.flags = FUSE_PARALLEL_DIROPS}};
    struct fuse_out_header header = {.error = 0};
    struct fuse_init_out out = {.flags = FUSE_ASYNC_READ};
    struct iovec iov[2] = {{&header, sizeof header}, {&out, sizeof out}};
    CU_ASSERT_TRUE(raw_patch_init((const uint8_t *)&request, sizeof request, iov, 2));
    CU_ASSERT_EQUAL(out.flags, FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS);
    request.header.opcode = FUSE_LOOKUP;
    CU_ASSERT_FALSE(raw_patch_init((const uint8_t *)&request, sizeof request, iov, 2));
    struct {
        struct fuse_in_header header;
        struct fuse_write_in in;
    } write_request = {.header = {.opcode = FUSE_WRITE},
                       .in = {.write_flags = FUSE_WRITE_KILL_SUIDGID}};
    const uint8_t *bytes = (const uint8_t *)&write_request;
    CU_ASSERT_TRUE(raw_write_kills_setid(bytes, sizeof write_request));
    CU_ASSERT_FALSE(raw_write_kills_setid(bytes, sizeof write_request - 1));
}

/* The line of mountinfo that belongs to a mount point. */
static void mountinfo(void)
{
    unsigned major_number = 0, minor_number = 0;
    const char *line = "36 35 0:57 / /mnt/cairn rw,nosuid shared:1 - fuse.cairn a rw\n";
    CU_ASSERT_EQUAL(bdi_parse_line(line, "/mnt/cairn", &major_number, &minor_number), 0);
    CU_ASSERT_EQUAL(minor_number, 57);
    CU_ASSERT_EQUAL(bdi_parse_line(line, "/mnt", &major_number, &minor_number), -ERR_NO_ENTRY);
}

#define TESTS(T)       \
    T(options)         \
    T(mount_points)    \
    T(conversions)     \
    T(groups)          \
    T(directories)     \
    T(init_is_patched) \
    T(mountinfo)
CU_TestInfo tests_pure[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
