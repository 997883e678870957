/* What a stateless QUIC-LB load balancer costs in plain C: recvmmsg, sendmmsg and nothing cleverer (no GSO, no GRO).
 *
 *   reference --outer A:P --inner A:P --config ID,SERVER_ID_LENGTH,NONCE_LENGTH[,KEY]...
 *             --backend A:P=CONFIG_ID:SERVER_ID[,CONFIG_ID:SERVER_ID...]...  [--shared]
 *   reference --decode --config ... --backend ...  < lines of hex
 *
 * Clients talk to the outer address. Each datagram goes from the inner one to the backend of its server ID, or of its
 * addresses' hash, behind an SPP header; answers come back behind the same header. --decode prints the server ID, or
 * `unroutable`, of each connection ID that it reads. IPv4 only. */
#include "batch.h"
#include "cid.h"

enum { BACKENDS = 64, BATCH = 64, BUFFER = 2048, SPP_BYTES = 38, SPP_MAGIC = 0x56ec, TABLE = 1024 };

struct server {
    uint8_t config_id, length, id[MAX_CID];
    int backend; /* counted from 1; 0 marks an empty place */
};

static struct cid_config configs[CONFIGS];
static struct server servers[TABLE];
static struct sockaddr_in backends[BACKENDS], vip;
static uint32_t backend_count;

static struct mmsghdr incoming[BATCH], outgoing[BATCH];
static struct slot slots[BATCH];
static struct iovec spaces[BATCH], pieces[BATCH][2];
static uint8_t buffers[BATCH][BUFFER], headers[BATCH][SPP_BYTES];

static uint32_t hash_bytes(const void *data, int length, uint32_t hash) {
    for (const uint8_t *byte = data; length-- > 0; byte++) hash = (hash ^ *byte) * 16777619u;
    return hash;
}

static struct server *find_server(int config_id, const uint8_t *id, int length) {
    uint32_t place = hash_bytes(id, length, 2166136261u + (uint32_t)config_id) % TABLE;
    while (servers[place].backend) {
        struct server *server = &servers[place];
        int is_same = server->config_id == config_id && server->length == length;
        if (is_same && !memcmp(server->id, id, (size_t)length)) break;
        place = (place + 1) % TABLE;
    }
    return &servers[place];
}

static const struct sockaddr_in *route(const uint8_t *datagram, int length, const struct sockaddr_in *client) {
    const uint8_t *cid = NULL;
    uint8_t server_id[MAX_CID];
    int config_id, available = cid_find(datagram, length, &cid);
    int found = available > 0 ? cid_decode(configs, cid, available, &config_id, server_id) : 0;
    int backend = found ? find_server(config_id, server_id, found)->backend : 0;
    if (backend) return &backends[backend - 1];
    uint32_t hash = hash_bytes(&client->sin_addr, 4, hash_bytes(&client->sin_port, 2, 2166136261u));
    return &backends[(hash ^ hash >> 16) % backend_count];
}

static void upward(int outer, int inner) {
    for (int i = 0; i < BATCH; i++)
        incoming[i].msg_hdr = (struct msghdr){.msg_name = &slots[i].peer, .msg_namelen = sizeof slots[i].peer,
            .msg_iov = &spaces[i], .msg_iovlen = 1};
    int n = receive_batch(outer, incoming, BATCH);
    for (int i = 0; i < n; i++) {
        memcpy(headers[i] + 14, &slots[i].peer.sin_addr, 4);
        memcpy(headers[i] + 34, &slots[i].peer.sin_port, 2);
        pieces[i][0] = (struct iovec){headers[i], SPP_BYTES};
        pieces[i][1] = (struct iovec){buffers[i], incoming[i].msg_len};
        const struct sockaddr_in *backend = route(buffers[i], (int)incoming[i].msg_len, &slots[i].peer);
        outgoing[i].msg_hdr = (struct msghdr){.msg_name = (void *)backend,
            .msg_namelen = sizeof slots[i].peer, .msg_iov = pieces[i], .msg_iovlen = 2};
    }
    send_all(inner, outgoing, (unsigned)n);
}

static int is_backend(const struct sockaddr_in *peer) {
    for (uint32_t i = 0; i < backend_count; i++)
        if (backends[i].sin_port == peer->sin_port && backends[i].sin_addr.s_addr == peer->sin_addr.s_addr) return 1;
    return 0;
}

static void downward(int inner, int outer) {
    for (int i = 0; i < BATCH; i++)
        incoming[i].msg_hdr = (struct msghdr){.msg_name = &slots[i].peer, .msg_namelen = sizeof slots[i].peer,
            .msg_iov = &spaces[i], .msg_iovlen = 1};
    int n = receive_batch(inner, incoming, BATCH);
    unsigned count = 0;
    for (int i = 0; i < n; i++) {
        const uint8_t *spp = buffers[i];
        if (incoming[i].msg_len <= SPP_BYTES || spp[0] != SPP_MAGIC >> 8 || spp[1] != (SPP_MAGIC & 0xff)) continue;
        if (!is_backend(&slots[i].peer)) continue;
        struct sockaddr_in *client = &slots[count].peer;
        client->sin_family = AF_INET;
        memcpy(&client->sin_addr, spp + 14, 4);
        memcpy(&client->sin_port, spp + 34, 2);
        if (!client->sin_port || (client->sin_port == vip.sin_port && client->sin_addr.s_addr == vip.sin_addr.s_addr))
            continue;
        pieces[count][0] = (struct iovec){buffers[i] + SPP_BYTES, incoming[i].msg_len - SPP_BYTES};
        outgoing[count].msg_hdr = (struct msghdr){.msg_name = client, .msg_namelen = sizeof *client,
            .msg_iov = pieces[count], .msg_iovlen = 1};
        count++;
    }
    send_all(outer, outgoing, count);
}

static void prepare(void) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    for (int i = 0; i < BATCH; i++) {
        spaces[i] = (struct iovec){buffers[i], BUFFER};
        headers[i][0] = SPP_MAGIC >> 8, headers[i][1] = SPP_MAGIC & 0xff;
        memcpy(headers[i] + 2, mapped, 12);
        memcpy(headers[i] + 18, mapped, 12);
        memcpy(headers[i] + 30, &vip.sin_addr, 4);
        memcpy(headers[i] + 36, &vip.sin_port, 2);
    }
}

static int parse_hex(const char *text, uint8_t *bytes, int most) {
    int n = 0;
    for (unsigned value; n < most && sscanf(text + 2 * n, "%2x", &value) == 1; n++) bytes[n] = (uint8_t)value;
    return n;
}

static void add_config(char *text) {
    int id, server_id_length, nonce_length, end = 0;
    uint8_t secret[16];
    if (sscanf(text, "%d,%d,%d%n", &id, &server_id_length, &nonce_length, &end) != 3) exit(2);
    struct cid_config *config = &configs[id & 7];
    config->is_active = 1;
    config->server_id_length = server_id_length;
    config->nonce_length = nonce_length;
    config->has_key = text[end] == ',' && parse_hex(text + end + 1, secret, 16) == 16;
    if (config->has_key) aes_expand_key(&config->key, secret);
}

static void add_backend(char *text) {
    backends[backend_count++] = parse_address(&text);
    while (*text) {
        struct server server = {.backend = (int)backend_count, .config_id = (uint8_t)strtoul(text + 1, &text, 10)};
        server.length = (uint8_t)parse_hex(text + 1, server.id, MAX_CID);
        text += 1 + 2 * server.length;
        *find_server(server.config_id, server.id, server.length) = server;
    }
}

static void decode_lines(void) {
    char line[128];
    uint8_t cid[MAX_CID], server_id[MAX_CID];
    while (fgets(line, sizeof line, stdin)) {
        int config_id, found = cid_decode(configs, cid, parse_hex(line, cid, MAX_CID), &config_id, server_id);
        for (int i = 0; i < found; i++) printf("%02x", server_id[i]);
        puts(found ? "" : "unroutable");
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in inner = {0};
    int is_shared = 0, only_decodes = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--shared")) is_shared = 1;
        else if (!strcmp(argv[i], "--decode")) only_decodes = 1;
        else if (i + 1 == argc) exit(2);
        else if (!strcmp(argv[i], "--outer")) vip = parse_address(&argv[++i]);
        else if (!strcmp(argv[i], "--inner")) inner = parse_address(&argv[++i]);
        else if (!strcmp(argv[i], "--config")) add_config(argv[++i]);
        else if (!strcmp(argv[i], "--backend")) add_backend(argv[++i]);
    }
    if (only_decodes) return decode_lines(), 0;
    prepare();
    int outside = open_socket(vip, is_shared), inside = open_socket(inner, 0);
    struct pollfd ready[2] = {{.fd = outside, .events = POLLIN}, {.fd = inside, .events = POLLIN}};
    printf("ready, %s\n", aes_kind), fflush(stdout);
    while (poll(ready, 2, -1) >= 0) {
        if (ready[0].revents) upward(outside, inside);
        if (ready[1].revents) downward(inside, outside);
    }
    die("poll");
}
