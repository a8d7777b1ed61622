/* CRC-32C (Castagnoli, reflected polynomial 0x82F63B78): the checksum of Kafka's record batches and of everything in an arena.
 *
 * All functions work on the bare register: no inversion at either end. Kafka's value is ~crc32c_update(~0, bytes, length).
 * The register is linear: update(a ^ b, m) = update(a, m) ^ shift(b, length of m). That is how the checksum of a stamped
 * batch is made without reading its records a second time.
 */
#ifndef INGESTD_CRC32C_H
#define INGESTD_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#define CRC32C_STEP8(reg, value) ((uint32_t)_mm_crc32_u64((reg), (value)))
#define CRC32C_STEP1(reg, value) _mm_crc32_u8((reg), (value))
#define CRC32C_HARDWARE 1
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define CRC32C_STEP8(reg, value) __crc32cd((reg), (value))
#define CRC32C_STEP1(reg, value) __crc32cb((reg), (value))
#define CRC32C_HARDWARE 1
#endif

#if defined(__x86_64__) && defined(__SSE4_2__)
#include <immintrin.h>
#define CRC32C_FOLDS 1 /* compiled in; whether this processor can is asked when the module is loaded */
#endif

#define CRC32C_POLYNOMIAL 0x82f63b78u
#define CRC32C_LANE_LONG 1024 /* bytes per lane of the interleaved loops; three lanes hide the instruction's latency of 3 */
#define CRC32C_LANE_SHORT 128

#define CRC32C_FOLD_BYTES 256 /* four registers of 64 bytes */

static uint32_t crc32c_table[8][256];       /* slicing by 8, for machines without the instruction */
static uint32_t crc32c_powers[32];          /* x^(2^n) modulo the polynomial */
static uint32_t crc32c_zeros_long[4][256];  /* the shift by CRC32C_LANE_LONG zero bytes, per byte of the register */
static uint32_t crc32c_zeros_short[4][256];

/* a * b modulo the polynomial; a must not be 0. */
static inline uint32_t crc32c_multiply(uint32_t a, uint32_t b)
{
    uint32_t bit = 1u << 31, product = 0;
    for (;;) {
        if (a & bit) {
            product ^= b;
            if ((a & (bit - 1)) == 0)
                return product;
        }
        bit >>= 1;
        b = (b & 1) ? (b >> 1) ^ CRC32C_POLYNOMIAL : b >> 1;
    }
}

/* The register after `length` more zero bytes; length below 2^29. */
static inline uint32_t crc32c_shift(uint32_t reg, uint64_t length)
{
    uint32_t power = 1u << 31;
    unsigned level = 3;
    for (; length != 0; length >>= 1, level++)
        if (length & 1)
            power = crc32c_multiply(crc32c_powers[level & 31], power);
    return crc32c_multiply(power, reg);
}

static inline uint32_t crc32c_update_table(uint32_t reg, const unsigned char *bytes, size_t length)
{
    while (length >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        word ^= reg;
        reg = crc32c_table[7][word & 255] ^ crc32c_table[6][(word >> 8) & 255] ^ crc32c_table[5][(word >> 16) & 255] ^
              crc32c_table[4][(word >> 24) & 255] ^ crc32c_table[3][(word >> 32) & 255] ^
              crc32c_table[2][(word >> 40) & 255] ^ crc32c_table[1][(word >> 48) & 255] ^ crc32c_table[0][word >> 56];
        bytes += 8;
        length -= 8;
    }
    while (length--)
        reg = (reg >> 8) ^ crc32c_table[0][(reg ^ *bytes++) & 255];
    return reg;
}

static inline uint32_t crc32c_shift_by(const uint32_t zeros[4][256], uint32_t reg)
{
    return zeros[0][reg & 255] ^ zeros[1][(reg >> 8) & 255] ^ zeros[2][(reg >> 16) & 255] ^ zeros[3][reg >> 24];
}

#ifdef CRC32C_HARDWARE
static inline uint32_t crc32c_three_lanes(uint32_t reg, const unsigned char *bytes, size_t lane, const uint32_t zeros[4][256])
{
    uint32_t second = 0, third = 0;
    for (size_t at = 0; at < lane; at += 8) {
        uint64_t a, b, c;
        memcpy(&a, bytes + at, 8);
        memcpy(&b, bytes + at + lane, 8);
        memcpy(&c, bytes + at + 2 * lane, 8);
        reg = CRC32C_STEP8(reg, a);
        second = CRC32C_STEP8(second, b);
        third = CRC32C_STEP8(third, c);
    }
    reg = crc32c_shift_by(zeros, reg) ^ second;
    return crc32c_shift_by(zeros, reg) ^ third;
}

static inline uint32_t crc32c_update_lanes(uint32_t reg, const unsigned char *bytes, size_t length)
{
    while (length >= 3 * CRC32C_LANE_LONG) {
        reg = crc32c_three_lanes(reg, bytes, CRC32C_LANE_LONG, crc32c_zeros_long);
        bytes += 3 * CRC32C_LANE_LONG;
        length -= 3 * CRC32C_LANE_LONG;
    }
    while (length >= 3 * CRC32C_LANE_SHORT) {
        reg = crc32c_three_lanes(reg, bytes, CRC32C_LANE_SHORT, crc32c_zeros_short);
        bytes += 3 * CRC32C_LANE_SHORT;
        length -= 3 * CRC32C_LANE_SHORT;
    }
    while (length >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        reg = CRC32C_STEP8(reg, word);
        bytes += 8;
        length -= 8;
    }
    while (length--)
        reg = CRC32C_STEP1(reg, *bytes++);
    return reg;
}
#else
static inline uint32_t crc32c_update_lanes(uint32_t reg, const unsigned char *bytes, size_t length)
{
    return crc32c_update_table(reg, bytes, length);
}
#endif

/* x to the power of `bits`, modulo the polynomial. */
static inline uint32_t crc32c_power(unsigned bits)
{
    uint32_t power = 1u << 31;
    for (unsigned level = 0; bits != 0; bits >>= 1, level++)
        if (bits & 1)
            power = crc32c_multiply(crc32c_powers[level], power);
    return power;
}

#ifdef CRC32C_FOLDS
/* Folding (Gopal and others, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009):
 * 16 bytes times x^d plus the 16 bytes that stand d bits behind them have the checksum that both had. Carry-less products
 * of reflected halves come out shifted by one bit, so the factors are x^(d+63) for the earlier half and x^(d-1). */
#define CRC32C_TARGET __attribute__((target("avx512f,vpclmulqdq,pclmul,sse4.2")))

static int crc32c_can_fold;
static uint64_t crc32c_factors[3][2]; /* for 2048, 512 and 128 bits */

CRC32C_TARGET static inline __m512i crc32c_fold(__m512i earlier, __m512i factors, __m512i later)
{
    __m512i low = _mm512_clmulepi64_epi128(earlier, factors, 0x00), high = _mm512_clmulepi64_epi128(earlier, factors, 0x11);
    return _mm512_ternarylogic_epi64(low, high, later, 0x96);
}

CRC32C_TARGET static inline __m128i crc32c_fold_one(__m128i earlier, __m128i factors, __m128i later)
{
    __m128i low = _mm_clmulepi64_si128(earlier, factors, 0x00), high = _mm_clmulepi64_si128(earlier, factors, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), later);
}

CRC32C_TARGET static inline __m512i crc32c_broadcast(const uint64_t factors[2])
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)factors));
}

/* `length`: a multiple of CRC32C_FOLD_BYTES, at least one. */
CRC32C_TARGET static uint32_t crc32c_update_folds(uint32_t reg, const unsigned char *bytes, size_t length)
{
    const __m512i far = crc32c_broadcast(crc32c_factors[0]), near = crc32c_broadcast(crc32c_factors[1]);
    const __m128i last = _mm_loadu_si128((const __m128i *)crc32c_factors[2]);
    __m512i a = _mm512_loadu_si512(bytes), b = _mm512_loadu_si512(bytes + 64);
    __m512i c = _mm512_loadu_si512(bytes + 128), d = _mm512_loadu_si512(bytes + 192);
    __m128i sum;
    a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)reg)));
    for (const unsigned char *end = bytes + length; (bytes += CRC32C_FOLD_BYTES) != end;) {
        a = crc32c_fold(a, far, _mm512_loadu_si512(bytes));
        b = crc32c_fold(b, far, _mm512_loadu_si512(bytes + 64));
        c = crc32c_fold(c, far, _mm512_loadu_si512(bytes + 128));
        d = crc32c_fold(d, far, _mm512_loadu_si512(bytes + 192));
    }
    d = crc32c_fold(crc32c_fold(crc32c_fold(a, near, b), near, c), near, d);
    sum = crc32c_fold_one(_mm512_extracti32x4_epi32(d, 0), last, _mm512_extracti32x4_epi32(d, 1));
    sum = crc32c_fold_one(sum, last, _mm512_extracti32x4_epi32(d, 2));
    sum = crc32c_fold_one(sum, last, _mm512_extracti32x4_epi32(d, 3));
    reg = (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(sum));
    return (uint32_t)_mm_crc32_u64(reg, (uint64_t)_mm_extract_epi64(sum, 1));
}

static inline void crc32c_make_factors(void)
{
    static const unsigned distances[3] = {2048, 512, 128};
    for (int step = 0; step < 3; step++) {
        crc32c_factors[step][0] = (uint64_t)crc32c_power(distances[step] + 63) << 32;
        crc32c_factors[step][1] = (uint64_t)crc32c_power(distances[step] - 1) << 32;
    }
    crc32c_can_fold = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq");
}
#endif

static inline uint32_t crc32c_update(uint32_t reg, const unsigned char *bytes, size_t length)
{
#ifdef CRC32C_FOLDS
    if (crc32c_can_fold && length >= 2 * CRC32C_FOLD_BYTES) {
        size_t folded = length - length % CRC32C_FOLD_BYTES;
        reg = crc32c_update_folds(reg, bytes, folded);
        bytes += folded;
        length -= folded;
    }
#endif
    return crc32c_update_lanes(reg, bytes, length);
}

__attribute__((constructor)) static void crc32c_make_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t reg = byte;
        for (int bit = 0; bit < 8; bit++)
            reg = (reg & 1) ? (reg >> 1) ^ CRC32C_POLYNOMIAL : reg >> 1;
        crc32c_table[0][byte] = reg;
    }
    for (int slice = 1; slice < 8; slice++)
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t reg = crc32c_table[slice - 1][byte];
            crc32c_table[slice][byte] = (reg >> 8) ^ crc32c_table[0][reg & 255];
        }
    crc32c_powers[0] = 1u << 30;
    for (int level = 1; level < 32; level++)
        crc32c_powers[level] = crc32c_multiply(crc32c_powers[level - 1], crc32c_powers[level - 1]);
#ifdef CRC32C_FOLDS
    crc32c_make_factors();
#endif
    for (int place = 0; place < 4; place++)
        for (uint32_t byte = 0; byte < 256; byte++) {
            crc32c_zeros_long[place][byte] = crc32c_shift(byte << (8 * place), CRC32C_LANE_LONG);
            crc32c_zeros_short[place][byte] = crc32c_shift(byte << (8 * place), CRC32C_LANE_SHORT);
        }
}

#endif
