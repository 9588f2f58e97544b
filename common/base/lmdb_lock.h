/* The lock file of an LMDB environment. */
#ifndef CAIRN_BASE_LMDB_LOCK_H
#define CAIRN_BASE_LMDB_LOCK_H

/* Allocates the blocks of `lock.mdb` in the environment's folder, to be called before mdb_env_open
 * with as many readers as mdb_env_set_maxreaders was told. LMDB makes that file as one hole and
 * writes it through a mapping: on a full disk the process would get SIGBUS instead of an error.
 *
 * Any thread. 0; -ERR_NO_SPACE; -ERR_IO, with errno kept. A file system that cannot allocate ahead
 * counts as success. */
int lmdb_lock_reserve(const char *folder, unsigned readers);

#endif
