/* AES-128 on one block. With AES instructions (x86, -maes) a block takes a few nanoseconds; elsewhere portable code
 * does the same, so that the reference runs on any machine. `aes_kind` says which one was compiled. */
#pragma once

#include <stdint.h>
#include <string.h>

#ifdef __AES__
#include <immintrin.h>
static const char *const aes_kind = "AES-NI";
#else
static const char *const aes_kind = "portable AES";
#endif

struct aes_key {
    uint8_t encrypt[11][16];
    uint8_t decrypt[11][16];
};

static uint8_t aes_sbox[256], aes_inverse_sbox[256];

static inline uint8_t aes_double(uint8_t x) { return (uint8_t)(x << 1 ^ (x >> 7) * 0x1b); }

static inline uint8_t aes_multiply(uint8_t x, uint8_t y) {
    uint8_t product = 0;
    for (; y; y >>= 1, x = aes_double(x))
        if (y & 1) product ^= x;
    return product;
}

/* FIPS 197, section 5.1.1: the inverse in GF(2^8), walked by the generators 3 and 1/3, then the affine map. */
static inline void aes_make_sboxes(void) {
    uint8_t p = 1, q = 1;
    do {
        p = (uint8_t)(p ^ aes_double(p));
        q ^= (uint8_t)(q << 1);
        q ^= (uint8_t)(q << 2);
        q ^= (uint8_t)(q << 4);
        if (q & 0x80) q ^= 0x09;
        uint8_t x = (uint8_t)(q ^ (q << 1 | q >> 7) ^ (q << 2 | q >> 6) ^ (q << 3 | q >> 5) ^ (q << 4 | q >> 4));
        aes_sbox[p] = x ^ 0x63;
        aes_inverse_sbox[x ^ 0x63] = p;
    } while (p != 1);
    aes_sbox[0] = 0x63;
    aes_inverse_sbox[0x63] = 0;
}

static inline void aes_mix(uint8_t block[16], uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    for (int column = 0; column < 16; column += 4) {
        uint8_t in[4];
        memcpy(in, block + column, 4);
        for (int i = 0; i < 4; i++)
            block[column + i] = aes_multiply(in[i], a) ^ aes_multiply(in[(i + 1) & 3], b) ^
                                aes_multiply(in[(i + 2) & 3], c) ^ aes_multiply(in[(i + 3) & 3], d);
    }
}

/* The decryption keys are those of the equivalent inverse cipher (FIPS 197, section 5.3.5). */
static inline void aes_expand_key(struct aes_key *key, const uint8_t secret[16]) {
    aes_make_sboxes();
    uint8_t *words = key->encrypt[0], constant = 1;
    memcpy(words, secret, 16);
    for (int i = 16; i < 176; i += 4) {
        uint8_t t[4];
        memcpy(t, words + i - 4, 4);
        if (i % 16 == 0) {
            uint8_t first = t[0];
            t[0] = aes_sbox[t[1]] ^ constant, t[1] = aes_sbox[t[2]], t[2] = aes_sbox[t[3]], t[3] = aes_sbox[first];
            constant = aes_double(constant);
        }
        for (int k = 0; k < 4; k++) words[i + k] = words[i + k - 16] ^ t[k];
    }
    for (int round = 0; round <= 10; round++) {
        memcpy(key->decrypt[round], key->encrypt[10 - round], 16);
        if (round % 10) aes_mix(key->decrypt[round], 14, 11, 13, 9);
    }
}

#ifdef __AES__

static inline __m128i aes_load(const uint8_t *bytes) { return _mm_loadu_si128((const __m128i *)bytes); }

static inline void aes_encrypt(const struct aes_key *key, uint8_t block[16]) {
    __m128i state = _mm_xor_si128(aes_load(block), aes_load(key->encrypt[0]));
    for (int round = 1; round < 10; round++) state = _mm_aesenc_si128(state, aes_load(key->encrypt[round]));
    _mm_storeu_si128((__m128i *)block, _mm_aesenclast_si128(state, aes_load(key->encrypt[10])));
}

static inline void aes_decrypt(const struct aes_key *key, uint8_t block[16]) {
    __m128i state = _mm_xor_si128(aes_load(block), aes_load(key->decrypt[0]));
    for (int round = 1; round < 10; round++) state = _mm_aesdec_si128(state, aes_load(key->decrypt[round]));
    _mm_storeu_si128((__m128i *)block, _mm_aesdeclast_si128(state, aes_load(key->decrypt[10])));
}

#else

/* Byte i comes from i + step * row, rows counted within a column: 4 shifts rows forth, 12 shifts them back. */
static inline void aes_substitute_and_shift(uint8_t block[16], const uint8_t sbox[256], int step) {
    uint8_t in[16];
    memcpy(in, block, 16);
    for (int i = 0; i < 16; i++) block[i] = sbox[in[(i + step * (i & 3)) & 15]];
}

static inline void aes_add(uint8_t block[16], const uint8_t key[16]) {
    for (int i = 0; i < 16; i++) block[i] ^= key[i];
}

static inline void aes_encrypt(const struct aes_key *key, uint8_t block[16]) {
    aes_add(block, key->encrypt[0]);
    for (int round = 1; round <= 10; round++) {
        aes_substitute_and_shift(block, aes_sbox, 4);
        if (round < 10) aes_mix(block, 2, 3, 1, 1);
        aes_add(block, key->encrypt[round]);
    }
}

static inline void aes_decrypt(const struct aes_key *key, uint8_t block[16]) {
    aes_add(block, key->decrypt[0]);
    for (int round = 1; round <= 10; round++) {
        aes_substitute_and_shift(block, aes_inverse_sbox, 12);
        if (round < 10) aes_mix(block, 14, 11, 13, 9);
        aes_add(block, key->decrypt[round]);
    }
}

#endif
