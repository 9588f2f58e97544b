/* What the loader makes and the clients of the metadata benchmark ask for: directories of equal
 * size below the root, each with files of 16-byte names. Inode numbers follow from the order. */
#ifndef CAIRN_BENCH_META_NAMES_H
#define CAIRN_BENCH_META_NAMES_H

#include <stdint.h>
#include <stdio.h>

#include "common/wire/types.h"

enum { META_DIRECTORY_FILES = 1000, META_NAME_SIZE = 16 };
#define META_CLUSTER "11111111-2222-3333-4444-555555555555"

static inline uint64_t meta_directory_inode(uint64_t file)
{
    return ROOT_INODE + 1 + file / META_DIRECTORY_FILES * (META_DIRECTORY_FILES + 1);
}

static inline uint64_t meta_file_inode(uint64_t file)
{
    return meta_directory_inode(file) + 1 + file % META_DIRECTORY_FILES;
}

/* Digits by hand: at millions a second printf would be what is measured. */
static inline struct slice meta_file_name(uint64_t file, char ret_name[META_NAME_SIZE])
{
    static const char pattern[META_NAME_SIZE + 1] = "file-00000000000";
    for (unsigned i = 0; i < META_NAME_SIZE; i++)
        ret_name[i] = pattern[i];
    for (unsigned i = META_NAME_SIZE; file > 0; file /= 10)
        ret_name[--i] = (char)('0' + file % 10);
    return slice_of(ret_name, META_NAME_SIZE);
}

#endif
