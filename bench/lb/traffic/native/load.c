/* The clients: many addresses, one process. Sends datagrams, takes the echoes, counts what went wrong.
 *
 *   load --target A:P --templates FILE --size BYTES --flows N --seconds S [--warmup S] [--burst N] [--sticky]
 *        (--window N | --rate DATAGRAMS_PER_SECOND) [--once]
 *
 * Flow i has the address 127.16.0.0 + i, takes the i-th beginning (header and connection ID) of FILE, modulo their
 * number, and the flows take turns. --window keeps N datagrams under way, to find the capacity; --rate sends at that
 * rate without waiting for replies, to find latency and loss; --once stops when each flow has sent one. --burst sends N
 * datagrams of a flow with one UDP_SEGMENT message. A datagram is misrouted if another backend than its connection
 * ID's answers or, with --sticky or without a known one, another than the flow's first.
 *
 * Prints `measuring` after the warm-up, `done` after the last datagram, and one line of JSON. */
#include <math.h>
#include <sys/prctl.h>

#include "batch.h"
#include "histogram.h"
#include "trailer.h"

enum { BATCH = 64, MOST_BURST = 16, BUFFER = 2048, FIRST_CLIENT = 0x7f100000, SECOND_NS = 1000000000, PACE_NS = 50000,
       EPOCH_BITS = 27, EPOCHS = 64, LOOK_AGAIN_NS = 20000000, DRAIN_NS = 250000000 };

struct template {
    uint8_t backend, length;
    uint8_t bytes[254];
};

struct flow {
    uint64_t newest;
    uint8_t backend; /* counted from 1; 0 before the first answer */
};

static struct {
    struct sockaddr_in target;
    const char *templates;
    double seconds, warmup, rate;
    uint64_t flows, window;
    size_t size;
    unsigned burst;
    int is_sticky, is_once;
} options = {.size = 200, .flows = 64, .burst = 1, .seconds = 1};

/* What was sent within about 134 ms, and how much of it came back. */
struct epoch {
    uint64_t sent, received;
};

static struct epoch epochs[EPOCHS];
static struct template *templates;
static uint64_t template_count;
static struct flow *flows;
static uint64_t sequence, received_ever, measured_from = UINT64_MAX;
static uint64_t sent, received, misrouted, misdelivered, reordered, untrusted, refused;
static uint64_t latencies[BUCKETS];

static struct mmsghdr outgoing[BATCH], incoming[BATCH];
static struct slot sent_slots[BATCH], received_slots[BATCH];
static struct iovec pieces[BATCH][2 * MOST_BURST], spaces[BATCH];
static uint8_t bodies[BATCH][MOST_BURST][BUFFER], buffers[BATCH][BUFFER];

static void read_templates(void) {
    FILE *file = fopen(options.templates, "rb");
    if (!file) die(options.templates);
    for (int backend; (backend = getc(file)) != EOF;) {
        templates = realloc(templates, (template_count + 1) * sizeof *templates);
        struct template *next = &templates[template_count++];
        next->backend = (uint8_t)backend;
        next->length = (uint8_t)getc(file);
        if (fread(next->bytes, 1, next->length, file) != next->length) die("templates end early");
    }
    if (!template_count) die("no templates");
}

static void prepare(void) {
    flows = calloc(options.flows, sizeof *flows);
    if (!flows) die("calloc");
    uint32_t noise = 1;
    for (size_t i = 0; i < sizeof bodies; i++) {
        noise = noise * 1664525u + 1013904223u;
        ((uint8_t *)bodies)[i] = (uint8_t)(noise >> 24);
    }
    for (int i = 0; i < BATCH; i++) {
        spaces[i] = (struct iovec){buffers[i], BUFFER};
        outgoing[i].msg_hdr = (struct msghdr){.msg_name = &options.target, .msg_namelen = sizeof options.target,
            .msg_iov = pieces[i], .msg_control = sent_slots[i].control};
    }
}

static struct in_addr client_address(uint64_t flow) {
    return (struct in_addr){htonl(FIRST_CLIENT + (uint32_t)flow)};
}

static void address_message(struct msghdr *message, uint64_t flow, unsigned burst) {
    struct in_pktinfo source = {.ipi_spec_dst = client_address(flow)};
    put_control(message, IPPROTO_IP, IP_PKTINFO, &source, sizeof source);
    if (burst == 1) return;
    uint16_t segment = (uint16_t)options.size;
    struct cmsghdr *second = (struct cmsghdr *)((char *)message->msg_control + message->msg_controllen);
    *second = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof segment), .cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT};
    memcpy(CMSG_DATA(second), &segment, sizeof segment);
    message->msg_controllen += CMSG_SPACE(sizeof segment);
}

/* Sends `count` messages, the next flows' turn, at `now`. */
static void send_batch(int fd, unsigned count, uint64_t now) {
    for (unsigned i = 0; i < count; i++) {
        uint64_t flow = sequence / options.burst % options.flows;
        const struct template *head = &templates[flow % template_count];
        for (unsigned k = 0; k < options.burst; k++) {
            struct trailer trailer = {.magic = TRAILER_MAGIC, .flow = (uint32_t)flow, .sequence = ++sequence,
                .sent_ns = now, .backend = ANY_BACKEND};
            memcpy(bodies[i][k] + options.size - sizeof trailer, &trailer, sizeof trailer);
            pieces[i][2 * k] = (struct iovec){(void *)head->bytes, head->length};
            pieces[i][2 * k + 1] = (struct iovec){bodies[i][k] + head->length, options.size - head->length};
        }
        outgoing[i].msg_hdr.msg_iovlen = 2 * options.burst;
        address_message(&outgoing[i].msg_hdr, flow, options.burst);
    }
    refused += send_all(fd, outgoing, count) * options.burst;
    epochs[(now >> EPOCH_BITS) % EPOCHS].sent += count * options.burst;
    if (now >= measured_from) sent += count * options.burst;
}

static void take(struct mmsghdr *message, const uint8_t *datagram, const struct sockaddr_in *peer, uint64_t now) {
    struct trailer trailer;
    const struct in_pktinfo *arrival = find_control(&message->msg_hdr, IPPROTO_IP, IP_PKTINFO);
    size_t before = message->msg_len < sizeof trailer ? 0 : message->msg_len - sizeof trailer;
    memcpy(&trailer, datagram + before, sizeof trailer);
    if (message->msg_len != options.size || trailer.magic != TRAILER_MAGIC || trailer.flow >= options.flows ||
        peer->sin_port != options.target.sin_port || peer->sin_addr.s_addr != options.target.sin_addr.s_addr) {
        untrusted++;
        return;
    }
    received_ever++;
    epochs[(trailer.sent_ns >> EPOCH_BITS) % EPOCHS].received++;
    struct flow *flow = &flows[trailer.flow];
    int expected = options.is_sticky ? ANY_BACKEND : templates[trailer.flow % template_count].backend;
    if (!flow->backend) flow->backend = trailer.backend + 1;
    misrouted += trailer.backend != (expected == ANY_BACKEND ? flow->backend - 1 : expected);
    misdelivered += !arrival || arrival->ipi_addr.s_addr != client_address(trailer.flow).s_addr;
    reordered += trailer.sequence < flow->newest;
    if (trailer.sequence > flow->newest) flow->newest = trailer.sequence;
    if (trailer.sent_ns < measured_from) return;
    received++;
    latencies[histogram_bucket(now - trailer.sent_ns)]++;
}

static int receive(int fd) {
    int total = 0, n;
    do {
        for (int i = 0; i < BATCH; i++)
            incoming[i].msg_hdr = (struct msghdr){.msg_name = &received_slots[i].peer,
                .msg_namelen = sizeof received_slots[i].peer, .msg_iov = &spaces[i], .msg_iovlen = 1,
                .msg_control = received_slots[i].control, .msg_controllen = CONTROL_BYTES};
        n = receive_batch(fd, incoming, BATCH);
        uint64_t now = now_ns();
        for (int i = 0; i < n; i++) take(&incoming[i], buffers[i], &received_slots[i].peer, now);
        total += n;
    } while (n == BATCH && total < 8 * BATCH);
    return total;
}

static void wait_until(int fd, uint64_t now, uint64_t then) {
    if (then <= now) return;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    struct timespec left = {(time_t)((then - now) / SECOND_NS), (long)((then - now) % SECOND_NS)};
    ppoll(&readable, 1, &left, NULL);
}

/* How many datagrams are given up: those of an epoch that are still missing when the next but one begins. */
static uint64_t count_lost(uint64_t now) {
    static uint64_t closed, lost;
    uint64_t epoch = now >> EPOCH_BITS;
    if (!closed) closed = epoch;
    for (; closed + 2 <= epoch; closed++) {
        struct epoch *old = &epochs[closed % EPOCHS];
        if (old->sent > old->received) lost += old->sent - old->received;
        *old = (struct epoch){0};
    }
    return lost;
}

/* The number of messages that are due, and in `next` when to look again. */
static uint64_t count_due(uint64_t begun, uint64_t now, uint64_t *next) {
    if (options.window) {
        uint64_t gone = received_ever + count_lost(now), underway = sequence > gone ? sequence - gone : 0;
        *next = now + LOOK_AGAIN_NS;
        return underway < options.window ? (options.window - underway) / options.burst : 0;
    }
    uint64_t due = (uint64_t)((double)(now - begun) * options.rate / SECOND_NS) + options.burst;
    uint64_t next_ns = begun + (uint64_t)ceil((double)(sequence + options.burst) * SECOND_NS / options.rate);
    *next = next_ns < now + PACE_NS && options.rate > SECOND_NS / PACE_NS ? now + PACE_NS : next_ns;
    return due > sequence ? (due - sequence) / options.burst : 0;
}

static void announce(const char *stage) { puts(stage), fflush(stdout); }

static uint64_t run(int fd) {
    uint64_t begun = now_ns(), now = begun, next = now, warm = begun + (uint64_t)(options.warmup * SECOND_NS);
    uint64_t end = options.is_once ? UINT64_MAX : warm + (uint64_t)(options.seconds * SECOND_NS);
    while (now < end && !(options.is_once && sequence >= options.flows)) {
        if (measured_from > now && now >= warm) announce("measuring"), measured_from = now;
        uint64_t due = count_due(begun, now, &next);
        if (options.is_once && due > options.flows - sequence) due = options.flows - sequence;
        if (due) send_batch(fd, due < BATCH ? (unsigned)due : BATCH, now);
        if (!receive(fd) && due <= BATCH) wait_until(fd, now_ns(), next);
        now = now_ns();
    }
    announce("done");
    return now;
}

static void parse(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--sticky")) options.is_sticky = 1;
        else if (!strcmp(argv[i], "--once")) options.is_once = 1;
        else if (i + 1 == argc) exit(2);
        else if (!strcmp(argv[i], "--target")) options.target = parse_address(&argv[++i]);
        else if (!strcmp(argv[i], "--templates")) options.templates = argv[++i];
        else if (!strcmp(argv[i], "--size")) options.size = strtoul(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--flows")) options.flows = strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--window")) options.window = strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--burst")) options.burst = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--rate")) options.rate = atof(argv[++i]);
        else if (!strcmp(argv[i], "--seconds")) options.seconds = atof(argv[++i]);
        else if (!strcmp(argv[i], "--warmup")) options.warmup = atof(argv[++i]);
        else exit(2);
    }
    int is_wrong = !options.templates || !options.target.sin_port || (options.window > 0) == (options.rate > 0) ||
        options.size < 64 || options.size > BUFFER || options.burst < 1 || options.burst > MOST_BURST || !options.flows;
    if (is_wrong) fputs("load: see the head of load.c for the options\n", stderr), exit(2);
}

int main(int argc, char **argv) {
    parse(argc, argv);
    read_templates();
    prepare();
    int fd = open_socket((struct sockaddr_in){.sin_family = AF_INET}, 0), one = 1;
    if (setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one)) die("IP_PKTINFO");
    prctl(PR_SET_TIMERSLACK, 1);
    uint64_t done = run(fd);
    uint64_t in_time = received;
    for (uint64_t now = done; now < done + DRAIN_NS; now = now_ns())
        if (!receive(fd)) wait_until(fd, now, done + DRAIN_NS);
    printf("{\"seconds\":%.6f,\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"received_in_time\":%" PRIu64
           ",\"misrouted\":%" PRIu64 ",\"misdelivered\":%" PRIu64 ",\"reordered\":%" PRIu64 ",\"untrusted\":%" PRIu64
           ",\"refused\":%" PRIu64 ",\"latency_ns\":",
           (double)(done - measured_from) / SECOND_NS, sent, received, in_time, misrouted, misdelivered, reordered,
           untrusted, refused);
    histogram_print(latencies);
    puts("}");
    return 0;
}
