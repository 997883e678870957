/* The last bytes of each datagram of the benchmark: who sent it, when, and which backend answered. */
#pragma once

#include <stdint.h>

enum { TRAILER_MAGIC = 0x51ba1a11, ANY_BACKEND = 255 };

struct trailer {
    uint32_t magic, flow;
    uint64_t sequence, sent_ns;
    uint8_t backend, padding[7];
};
