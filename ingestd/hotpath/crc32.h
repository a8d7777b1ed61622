/* CRC-32 as zlib has it (reflected polynomial 0xEDB88320), for librdkafka's partitioner: keys of a few bytes, so tables by eight bytes. */
#ifndef INGESTD_CRC32_H
#define INGESTD_CRC32_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CRC32_POLYNOMIAL 0xedb88320u

static uint32_t crc32_table[8][256];

__attribute__((constructor)) static void crc32_fill(void)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint32_t reg = byte;
        for (int bit = 0; bit < 8; bit++)
            reg = (reg & 1) ? (reg >> 1) ^ CRC32_POLYNOMIAL : reg >> 1;
        crc32_table[0][byte] = reg;
    }
    for (unsigned byte = 0; byte < 256; byte++)
        for (int slice = 1; slice < 8; slice++)
            crc32_table[slice][byte] = (crc32_table[slice - 1][byte] >> 8) ^ crc32_table[0][crc32_table[slice - 1][byte] & 255];
}

static inline uint32_t crc32_of(const unsigned char *bytes, size_t length)
{
    uint32_t reg = 0xffffffffu;
    for (; length >= 8; bytes += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        word ^= reg;
        reg = crc32_table[7][word & 255] ^ crc32_table[6][(word >> 8) & 255] ^ crc32_table[5][(word >> 16) & 255] ^
              crc32_table[4][(word >> 24) & 255] ^ crc32_table[3][(word >> 32) & 255] ^ crc32_table[2][(word >> 40) & 255] ^
              crc32_table[1][(word >> 48) & 255] ^ crc32_table[0][word >> 56];
    }
    while (length--)
        reg = (reg >> 8) ^ crc32_table[0][(reg ^ *bytes++) & 255];
    return ~reg;
}

#endif
