/* Checksums behind two functions: CRC-32 (the polynomial of zlib and gzip; ISA-L where present)
 * and SHA-1. Any thread. */
#ifndef CAIRN_BASE_CHECKSUM_H
#define CAIRN_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

enum { SHA1_SIZE = 20, UUID_SIZE = 16, UUID_TEXT_SIZE = 37 };

struct uuid {
    uint8_t bytes[UUID_SIZE];
};

/* crc32(0, data, n) equals zlib's; pass an earlier result as `seed` to go on. */
uint32_t checksum_crc32(uint32_t seed, const void *data, size_t size);
void checksum_sha1(const void *data, size_t size, uint8_t ret_digest[SHA1_SIZE]);

/* A random (version 4) uuid from the system's generator; aborts when there is none. */
struct uuid uuid_make(void);
void uuid_format(const struct uuid *u, char ret_text[UUID_TEXT_SIZE]);
int uuid_parse(const char *text, struct uuid *ret_uuid); /* -ERR_INVALID */
uint64_t random_u64(void);                               /* from the system's generator */

#endif
