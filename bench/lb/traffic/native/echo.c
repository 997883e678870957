/* The backends: each datagram goes back as it came, with the number of the backend written into its trailer.
 *
 *   echo [--batched] ADDRESS:PORT...
 *
 * One process serves all backends, numbered in the order of their addresses. With --batched they receive with UDP_GRO
 * and answer with UDP_SEGMENT: one message for all answers of a batch that go to one address and have one size. */
#include "batch.h"
#include "trailer.h"

enum { BACKENDS = 16, BATCH = 64, BUFFER = 65536, SEGMENTS = 64, OUT = BATCH * SEGMENTS, LARGEST = 65000 };

static struct mmsghdr incoming[BATCH], outgoing[OUT];
static struct slot received[BATCH], sent[OUT];
static struct iovec spaces[BATCH], *pieces;
static uint8_t *buffers;

static void prepare(void) {
    buffers = malloc((size_t)BATCH * BUFFER);
    pieces = calloc((size_t)OUT * SEGMENTS, sizeof *pieces);
    if (!buffers || !pieces) die("malloc");
    for (int i = 0; i < BATCH; i++) spaces[i] = (struct iovec){buffers + (size_t)i * BUFFER, BUFFER};
    for (int i = 0; i < OUT; i++) {
        outgoing[i].msg_hdr = (struct msghdr){.msg_name = &sent[i].peer, .msg_namelen = sizeof sent[i].peer};
        outgoing[i].msg_hdr.msg_iov = pieces + (size_t)i * SEGMENTS;
    }
}

/* The open message that a segment may join: same address, same size, room left. */
static struct msghdr *message_for(const struct sockaddr_in *peer, size_t length, unsigned *count, int is_batched) {
    for (unsigned i = *count; is_batched && i-- > 0;) {
        struct msghdr *message = &outgoing[i].msg_hdr;
        if (sent[i].peer.sin_port != peer->sin_port || sent[i].peer.sin_addr.s_addr != peer->sin_addr.s_addr) continue;
        if (message->msg_iov[0].iov_len != length || message->msg_iovlen >= SEGMENTS) break;
        if ((message->msg_iovlen + 1) * length > LARGEST) break;
        return message;
    }
    struct msghdr *message = &outgoing[*count].msg_hdr;
    sent[*count].peer = *peer;
    message->msg_iovlen = 0;
    ++*count;
    return message;
}

static void answer(int fd, uint8_t backend, int is_batched) {
    for (int i = 0; i < BATCH; i++) {
        incoming[i].msg_hdr = (struct msghdr){.msg_name = &received[i].peer, .msg_namelen = sizeof received[i].peer,
            .msg_iov = &spaces[i], .msg_iovlen = 1, .msg_control = received[i].control,
            .msg_controllen = CONTROL_BYTES};
    }
    int n = receive_batch(fd, incoming, BATCH);
    unsigned count = 0;
    for (int i = 0; i < n; i++) {
        const int *gro = find_control(&incoming[i].msg_hdr, SOL_UDP, UDP_GRO);
        size_t length = incoming[i].msg_len, segment = gro ? (size_t)*gro : length;
        for (size_t at = 0; at < length; at += segment) {
            size_t size = length - at < segment ? length - at : segment;
            uint8_t *datagram = (uint8_t *)spaces[i].iov_base + at;
            if (size < sizeof(struct trailer)) continue;
            datagram[size - sizeof(struct trailer) + offsetof(struct trailer, backend)] = backend;
            struct msghdr *message = message_for(&received[i].peer, size, &count, is_batched);
            message->msg_iov[message->msg_iovlen++] = (struct iovec){datagram, size};
        }
    }
    for (unsigned i = 0; i < count; i++) {
        struct msghdr *message = &outgoing[i].msg_hdr;
        uint16_t segment = (uint16_t)message->msg_iov[0].iov_len;
        message->msg_control = message->msg_iovlen > 1 ? sent[i].control : NULL;
        message->msg_controllen = 0;
        if (message->msg_iovlen > 1) put_control(message, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
    }
    send_all(fd, outgoing, count);
}

int main(int argc, char **argv) {
    struct pollfd ready[BACKENDS];
    int is_batched = 0, one = 1;
    nfds_t backends = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--batched")) {
            is_batched = 1;
        } else if (backends < BACKENDS) {
            int fd = open_socket(parse_address(&argv[i]), 0);
            if (is_batched && setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one)) die("UDP_GRO");
            ready[backends++] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
    }
    prepare();
    puts("ready"), fflush(stdout);
    while (poll(ready, backends, -1) >= 0)
        for (nfds_t i = 0; i < backends; i++)
            if (ready[i].revents) answer(ready[i].fd, (uint8_t)i, is_batched);
    die("poll");
}
