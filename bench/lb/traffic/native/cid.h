/* Finds the server ID in a connection ID: plaintext, single pass and four passes of the QUIC-LB draft. */
#pragma once

#include "aes.h"

enum { MAX_CID = 20, CONFIGS = 8, RESERVED_CONFIG = 7 };

struct cid_config {
    int is_active, has_key;
    int server_id_length, nonce_length;
    struct aes_key key;
};

static inline void cid_round(const struct cid_config *config, int pass, int half, uint8_t *target,
                             const uint8_t *source) {
    uint8_t block[16] = {0};
    memcpy(block, source, (size_t)half);
    block[14] = (uint8_t)(config->server_id_length + config->nonce_length);
    block[15] = (uint8_t)pass;
    aes_encrypt(&config->key, block);
    for (int i = 0; i < half; i++) target[i] ^= block[i];
}

static inline void cid_undo_passes(const struct cid_config *config, uint8_t text[MAX_CID]) {
    int length = config->server_id_length + config->nonce_length, half = (length + 1) / 2, is_odd = length & 1;
    uint8_t left[MAX_CID], right[MAX_CID];
    memcpy(left, text, (size_t)half);
    memcpy(right, text + length - half, (size_t)half);
    if (is_odd) left[half - 1] &= 0xf0, right[0] &= 0x0f;
    int last = config->server_id_length > config->nonce_length ? 1 : 2;
    for (int pass = 4; pass >= last; pass--) {
        if (pass % 2 == 0) {
            cid_round(config, pass, half, left, right);
            if (is_odd) left[half - 1] &= 0xf0;
        } else {
            cid_round(config, pass, half, right, left);
            if (is_odd) right[0] &= 0x0f;
        }
    }
    uint8_t middle = is_odd ? left[half - 1] | right[0] : right[0];
    memcpy(text, left, (size_t)half);
    memcpy(text + length - half, right, (size_t)half);
    text[length - half] = middle;
}

/* The server ID in `cid`, its length as the result and its config in `config_id`; 0 if the CID is unroutable. */
static inline int cid_decode(const struct cid_config configs[CONFIGS], const uint8_t *cid, int available,
                             int *config_id, uint8_t server_id[MAX_CID]) {
    if (available < 1) return 0;
    *config_id = cid[0] >> 5;
    const struct cid_config *config = &configs[*config_id];
    int length = config->server_id_length + config->nonce_length;
    if (*config_id == RESERVED_CONFIG || !config->is_active || available < 1 + length) return 0;
    uint8_t text[MAX_CID];
    memcpy(text, cid + 1, (size_t)length);
    if (config->has_key && length == 16)
        aes_decrypt(&config->key, text);
    else if (config->has_key)
        cid_undo_passes(config, text);
    memcpy(server_id, text, (size_t)config->server_id_length);
    return config->server_id_length;
}

/* The destination connection ID of a datagram's first packet (RFC 8999, section 5): its length, or -1 if there is none.
 * A short header does not say where its CID ends. */
static inline int cid_find(const uint8_t *datagram, int length, const uint8_t **cid) {
    if (length < 1) return -1;
    if (!(datagram[0] & 0x80)) {
        *cid = datagram + 1;
        return length - 1 < MAX_CID ? length - 1 : MAX_CID;
    }
    if (length < 6 || length < 6 + datagram[5]) return -1;
    *cid = datagram + 6;
    return datagram[5];
}
