/* Counts of durations in buckets that are at most 3 % wide: exact below 32 ns, then 32 to each power of two. */
#pragma once

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

enum { SUB_BITS = 5, SUBS = 1 << SUB_BITS, BUCKETS = SUBS * 60 };

static inline unsigned histogram_bucket(uint64_t value) {
    if (value < SUBS) return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - SUB_BITS;
    return (shift + 1) * SUBS + (unsigned)(value >> shift & (SUBS - 1));
}

static inline uint64_t histogram_floor(unsigned bucket) {
    if (bucket < SUBS) return bucket;
    return (uint64_t)(SUBS + bucket % SUBS) << (bucket / SUBS - 1);
}

/* A JSON list of [lowest value of the bucket, first value above it, count]. */
static inline void histogram_print(const uint64_t counts[BUCKETS]) {
    const char *separator = "";
    putchar('[');
    for (unsigned i = 0; i < BUCKETS; i++) {
        if (!counts[i]) continue;
        uint64_t low = histogram_floor(i), high = histogram_floor(i + 1);
        printf("%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", separator, low, high, counts[i]);
        separator = ",";
    }
    putchar(']');
}
