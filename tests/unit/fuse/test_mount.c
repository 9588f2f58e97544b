/* A real mount in front of a fake metaserver and a data path in memory: what the kernel and
 * ordinary system calls make of it. Skipped where /dev/fuse cannot be used. */
#define _GNU_SOURCE /* O_DIRECT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

/* <sys/mount.h> has the kernel's meaning of this name. */
#undef BLOCK_SIZE

#include "fuse/mount.h"
#include "tests/unit/common/client/fake_data.h"
#include "tests/unit/common/client/fake_meta.h"
#include "tests/unit/fuse/test_fuse.h"

static struct {
    char path[64];
    pthread_t thread;
    sem_t ready;
    struct loop *loop;
    struct fake_meta *meta;
    struct client *client;
    struct mount *mount;
    int status;
} mt;

static void on_closed(void *arg, int status)
{
    (void)arg, (void)status;
    loop_stop(mt.loop);
}

static void on_end(void *arg)
{
    (void)arg;
    client_close(mt.client, on_closed, NULL);
}

static void on_client(void *arg, int status, struct client *client, const char *why)
{
    struct err_text text = {""};
    (void)arg, (void)why;
    mt.client = client;
    mt.status = status;
    if (status == 0)
        mt.status = mount_create(client,
                                 &(struct mount_options){.mount_point = mt.path,
                                                         .mount_flags = "default_permissions,"
                                                                        "allow_other,nosuid,nodev",
                                                         .attr_ms = 1000,
                                                         .on_end = on_end},
                                 &mt.mount, &text);
    if (mt.status != 0)
        loop_stop(mt.loop);
    sem_post(&mt.ready);
}

static void *serve(void *arg)
{
    (void)arg;
    mt.loop = loop_create();
    mt.meta = fake_meta_create(mt.loop);
    mt.meta->inodes[1].attr.mode = S_IFDIR | 0777;
    client_create(mt.loop, &(struct client_options){.cluster = rpc_server_address(mt.meta->server)},
                  on_client, NULL);
    loop_run(mt.loop);
    if (mt.mount)
        mount_destroy(mt.mount);
    fake_meta_destroy(mt.meta);
    fake_data_reset();
    loop_destroy(mt.loop);
    return NULL;
}

bool mount_is_possible(void)
{
    return geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0;
}

int mount_suite_init(void)
{
    snprintf(mt.path, sizeof mt.path, "/tmp/cairn-mount-XXXXXX");
    if (!mkdtemp(mt.path))
        return -1;
    sem_init(&mt.ready, 0, 0);
    pthread_create(&mt.thread, NULL, serve, NULL);
    sem_wait(&mt.ready);
    return mt.status;
}

int mount_suite_clean(void)
{
    int status = umount2(mt.path, 0);
    pthread_join(mt.thread, NULL);
    rmdir(mt.path);
    return status;
}

static const char *at(const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", mt.path, name);
    return path;
}

/* Write, size, read back, rename over, unlink: the everyday life of a file. */
static void files(void)
{
    char data[64] = "";
    struct stat st;
    int fd = open(at("f"), O_CREAT | O_EXCL | O_RDWR, 0644);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, "hello", 5), 5);
    CU_ASSERT_EQUAL(fstat(fd, &st), 0);
    CU_ASSERT_EQUAL(st.st_size, 5);
    CU_ASSERT_EQUAL(pread(fd, data, sizeof data, 0), 5);
    CU_ASSERT_STRING_EQUAL(data, "hello");
    CU_ASSERT_EQUAL(fsync(fd), 0);
    CU_ASSERT_EQUAL(ftruncate(fd, 2), 0);
    CU_ASSERT_EQUAL(close(fd), 0);
    CU_ASSERT_EQUAL(stat(at("f"), &st), 0);
    CU_ASSERT_EQUAL(st.st_size, 2);
    fd = open(at("f"), O_WRONLY | O_APPEND);
    CU_ASSERT_EQUAL(write(fd, "!!", 2), 2);
    close(fd);
    fd = open(at("f"), O_RDONLY);
    CU_ASSERT_EQUAL(read(fd, data, sizeof data), 4);
    CU_ASSERT_EQUAL(memcmp(data, "he!!", 4), 0);
    int other = open(at("g"), O_CREAT | O_RDWR, 0600);
    CU_ASSERT_EQUAL(rename(at("g"), at("f")), 0); /* over an open file */
    CU_ASSERT_EQUAL(pread(fd, data, 4, 0), 4);
    CU_ASSERT_EQUAL(unlink(at("f")), 0);
    CU_ASSERT_EQUAL(write(other, "orphan", 6), 6);
    CU_ASSERT_EQUAL(pread(other, data, 6, 0), 6);
    CU_ASSERT_EQUAL(memcmp(data, "orphan", 6), 0);
    close(fd);
    close(other);
    CU_ASSERT_EQUAL(stat(at("f"), &st), -1);
    CU_ASSERT_EQUAL(errno, ENOENT);
    fd = open(at("t"), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    CU_ASSERT_EQUAL(write(fd, "1234", 4), 4);
    close(fd);
    fd = open(at("t"), O_TRUNC | O_WRONLY);
    CU_ASSERT_EQUAL(fstat(fd, &st), 0);
    CU_ASSERT_EQUAL(st.st_size, 0);
    close(fd);
}

/* Large writes (which give their block away) and mmap read back what was written. */
static void large_and_mapped(void)
{
    enum { SIZE = 5 << 20 };
    uint8_t *data = malloc(SIZE), *back = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 11);
    int fd = open(at("large"), O_CREAT | O_RDWR, 0644);
    CU_ASSERT_EQUAL(write(fd, data, SIZE), SIZE);
    CU_ASSERT_EQUAL(close(fd), 0);
    fd = open(at("large"), O_RDWR | O_DIRECT);
    void *aligned = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_FATAL(aligned != MAP_FAILED);
    CU_ASSERT_EQUAL(read(fd, aligned, SIZE), SIZE);
    CU_ASSERT_EQUAL(memcmp(aligned, data, SIZE), 0);
    close(fd);
    munmap(aligned, SIZE);
    fd = open(at("large"), O_RDWR);
    uint8_t *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CU_ASSERT_FATAL(map != MAP_FAILED);
    CU_ASSERT_EQUAL(memcmp(map, data, SIZE), 0);
    memset(map + 1000, 0x5a, 70000);
    memset(data + 1000, 0x5a, 70000);
    CU_ASSERT_EQUAL(msync(map, SIZE, MS_SYNC), 0);
    munmap(map, SIZE);
    CU_ASSERT_EQUAL(pread(fd, back, SIZE, 0), SIZE);
    CU_ASSERT_EQUAL(memcmp(back, data, SIZE), 0);
    CU_ASSERT_EQUAL(close(fd), 0);
    free(data);
    free(back);
}

/* Directories of more entries than one answer holds are listed whole, each name once. */
static void directories(void)
{
    enum { COUNT = 1500 };
    static bool seen[COUNT];
    struct stat st;
    char name[64];
    CU_ASSERT_EQUAL(mkdir(at("dir"), 0755), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "dir/%u", i);
        int fd = open(at(name), O_CREAT | O_WRONLY, 0644);
        CU_ASSERT_FATAL(fd >= 0);
        close(fd);
    }
    unsigned count = 0, dots = 0;
    DIR *d = opendir(at("dir"));
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.') {
            dots++;
            continue;
        }
        unsigned number = (unsigned)strtoul(e->d_name, NULL, 10);
        CU_ASSERT_FATAL(number < COUNT && !seen[number]);
        seen[number] = true;
        CU_ASSERT_EQUAL(fstatat(dirfd(d), e->d_name, &st, 0), 0);
        count++;
    }
    closedir(d);
    CU_ASSERT_EQUAL(count, COUNT);
    CU_ASSERT_EQUAL(dots, 2);
    CU_ASSERT_EQUAL(mkdir(at("empty"), 0755), 0);
    CU_ASSERT_EQUAL(rmdir(at("empty")), 0);
}

/* Links, modes, times, statfs, the virtual attribute and what is refused. */
static void attributes(void)
{
    char text[256] = "";
    struct stat st;
    struct statvfs fs;
    CU_ASSERT_EQUAL(symlink("target", at("link")), 0);
    CU_ASSERT_EQUAL(readlink(at("link"), text, sizeof text), 6);
    CU_ASSERT_STRING_EQUAL(text, "target");
    close(open(at("a"), O_CREAT | O_WRONLY, 0644));
    CU_ASSERT_EQUAL(chmod(at("a"), 0600), 0);
    CU_ASSERT_EQUAL(link(at("a"), at("b")), 0);
    CU_ASSERT_EQUAL(stat(at("b"), &st), 0);
    CU_ASSERT_EQUAL(st.st_nlink, 2);
    CU_ASSERT_EQUAL(st.st_mode, S_IFREG | 0600);
    struct timespec times[2] = {{.tv_sec = 100, .tv_nsec = 1}, {.tv_sec = 200, .tv_nsec = 2}};
    CU_ASSERT_EQUAL(utimensat(AT_FDCWD, at("a"), times, 0), 0);
    CU_ASSERT_EQUAL(stat(at("a"), &st), 0);
    CU_ASSERT_EQUAL(st.st_mtim.tv_sec, 200);
    CU_ASSERT_EQUAL(st.st_mtim.tv_nsec, 2);
    CU_ASSERT_EQUAL(statvfs(mt.path, &fs), 0);
    CU_ASSERT_EQUAL(fs.f_namemax, 255);
    ssize_t size = getxattr(at("a"), "user.cairn.cluster", text, sizeof text - 1);
    CU_ASSERT_FATAL(size > 0);
    text[size] = 0;
    CU_ASSERT_STRING_EQUAL(text, rpc_server_address(mt.meta->server));
    CU_ASSERT_EQUAL(getxattr(at("a"), "user.other", text, sizeof text), -1);
    CU_ASSERT_EQUAL(errno, ENODATA);
    CU_ASSERT_EQUAL(listxattr(at("a"), text, sizeof text), 0);
    CU_ASSERT_EQUAL(setxattr(at("a"), "user.other", "x", 1, 0), -1);
    CU_ASSERT_EQUAL(errno, EOPNOTSUPP);
}

static void expect_replicas(const char *path, char digit)
{
    char text[4] = "";
    CU_ASSERT_EQUAL(getxattr(path, "user.cairn.replicas", NULL, 0), 1);
    CU_ASSERT_EQUAL(getxattr(path, "user.cairn.replicas", text, sizeof text), 1);
    CU_ASSERT_EQUAL(text[0], digit);
}

static int set_replicas(const char *path, const char *value)
{
    return setxattr(path, "user.cairn.replicas", value, strlen(value), 0) == 0 ? 0 : errno;
}

/* The number of copies of folders and files, as an attribute that is not listed. */
static void replicas(void)
{
    char text[8];
    CU_ASSERT_EQUAL(mkdir(at("copies"), 0755), 0);
    expect_replicas(at("copies"), '1');
    CU_ASSERT_EQUAL(set_replicas(at("copies"), "3"), 0);
    expect_replicas(at("copies"), '3');
    const char *const bad[] = {"0", "6", "", "12", "x"};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(set_replicas(at("copies"), bad[i]), EINVAL);
    CU_ASSERT_EQUAL(setxattr(at("copies"), "user.cairn.replicas", "2", 1, XATTR_CREATE), -1);
    CU_ASSERT_EQUAL(errno, EEXIST);
    CU_ASSERT_EQUAL(setxattr(at("copies"), "user.cairn.replicas", "2", 1, XATTR_REPLACE), 0);
    expect_replicas(at("copies"), '2');
    CU_ASSERT_EQUAL(removexattr(at("copies"), "user.cairn.replicas"), 0);
    expect_replicas(at("copies"), '1');
    CU_ASSERT_EQUAL(removexattr(at("copies"), "user.other"), -1);
    CU_ASSERT_EQUAL(errno, EOPNOTSUPP);
    CU_ASSERT_EQUAL(listxattr(at("copies"), text, sizeof text), 0);
    CU_ASSERT_EQUAL(rmdir(at("copies")), 0);
}

/* Close-to-open: what another client changed is seen by the next open, size included. */
static void other_clients(void)
{
    char data[16] = "";
    int fd = open(at("shared"), O_CREAT | O_RDWR, 0644);
    CU_ASSERT_EQUAL(write(fd, "abcdefgh", 8), 8);
    close(fd);
    struct stat st;
    CU_ASSERT_EQUAL(stat(at("shared"), &st), 0);
    fake_meta_touch(mt.meta, st.st_ino, 3);
    fd = open(at("shared"), O_RDONLY);
    CU_ASSERT_EQUAL(read(fd, data, sizeof data), 3);
    close(fd);
}

#define TESTS(T)        \
    T(files)            \
    T(large_and_mapped) \
    T(directories)      \
    T(attributes)       \
    T(other_clients)    \
    T(replicas)
CU_TestInfo tests_mount[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
