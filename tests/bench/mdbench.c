// mdbench: metadata and small-file loop over a mounted directory.
// usage: mdbench DIR FILES THREADS BYTES  -> prints "phase ops/s" lines
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/stat.h>
#include <dirent.h>
#include <time.h>
#include <errno.h>
static const char *dir;
static int nfiles, nthr;
static size_t nbytes;
static char *buf;
static int phase;
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}
static void die(const char *w, const char *p)
{
    fprintf(stderr, "%s %s: %s\n", w, p, strerror(errno));
    exit(1);
}
static void *work(void *a)
{
    long t = (long)a;
    char p[4096], q[4096];
    for (int i = t; i < nfiles; i += nthr) {
        snprintf(p, sizeof p, "%s/d%ld/f%d", dir, t, i);
        struct stat st;
        switch (phase) {
        case 0: {
            int fd = open(p, O_CREAT | O_EXCL | O_WRONLY, 0644);
            if (fd < 0)
                die("create", p);
            if (nbytes && write(fd, buf, nbytes) != (ssize_t)nbytes)
                die("write", p);
            if (close(fd))
                die("close", p);
            break;
        }
        case 1:
            if (stat(p, &st))
                die("stat", p);
            if ((size_t)st.st_size != nbytes) {
                fprintf(stderr, "size %s\n", p);
                exit(1);
            }
            break;
        case 2: {
            int fd = open(p, O_RDONLY);
            if (fd < 0)
                die("open", p);
            size_t n = 0;
            ssize_t r;
            while ((r = read(fd, buf + nbytes, nbytes + 1)) > 0)
                n += r;
            if (n != nbytes) {
                fprintf(stderr, "short %s\n", p);
                exit(1);
            }
            if (nbytes && memcmp(buf, buf + nbytes, nbytes)) {
                fprintf(stderr, "data %s\n", p);
                exit(1);
            }
            close(fd);
            break;
        }
        case 3:
            snprintf(q, sizeof q, "%s/d%ld/g%d", dir, t, i);
            if (rename(p, q))
                die("rename", p);
            break;
        case 4:
            snprintf(q, sizeof q, "%s/d%ld/g%d", dir, t, i);
            if (unlink(q))
                die("unlink", q);
            break;
        }
    }
    return 0;
}
static void run(const char *n, int ph)
{
    phase = ph;
    pthread_t th[64];
    double t = now();
    for (long i = 0; i < nthr; i++)
        pthread_create(&th[i], 0, work, (void *)i);
    for (int i = 0; i < nthr; i++)
        pthread_join(th[i], 0);
    t = now() - t;
    printf("%s %.0f\n", n, nfiles / t);
    fflush(stdout);
}
static void drop(void)
{
    sync();
    int f = open("/proc/sys/vm/drop_caches", O_WRONLY);
    if (f >= 0) {
        if (write(f, "3", 1) < 0) {
        }
        close(f);
    }
}
int main(int c, char **v)
{
    if (c < 5)
        return 2;
    dir = v[1];
    nfiles = atoi(v[2]);
    nthr = atoi(v[3]);
    nbytes = atol(v[4]);
    buf = malloc(2 * nbytes + 16);
    for (size_t i = 0; i < nbytes; i++)
        buf[i] = i * 2654435761u >> 13;
    char p[4096];
    for (int t = 0; t < nthr; t++) {
        snprintf(p, sizeof p, "%s/d%d", dir, t);
        if (mkdir(p, 0755) && errno != EEXIST)
            die("mkdir", p);
    }
    run("create", 0);
    drop();
    run("stat_cold", 1);
    run("stat_warm", 1);
    drop();
    {
        double t = now();
        long n = 0;
        for (int k = 0; k < nthr; k++) {
            snprintf(p, sizeof p, "%s/d%d", dir, k);
            DIR *d = opendir(p);
            struct dirent *e;
            struct stat st;
            while ((e = readdir(d))) {
                if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
                    die("fstatat", e->d_name);
                n++;
            }
            closedir(d);
        }
        t = now() - t;
        printf("ls_l %.0f\n", n / t);
    }
    drop();
    run("read", 2);
    run("rename", 3);
    run("unlink", 4);
    for (int t = 0; t < nthr; t++) {
        snprintf(p, sizeof p, "%s/d%d", dir, t);
        rmdir(p);
    }
    return 0;
}
