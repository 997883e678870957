/* Sockets that move many datagrams with one system call. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif

enum { RECEIVE_BUFFER_BYTES = 4 << 20, CONTROL_BYTES = 128 };

/* What a message header points at, besides its data. */
struct slot {
    struct sockaddr_in peer;
    _Alignas(struct cmsghdr) char control[CONTROL_BYTES];
};

static inline void die(const char *what) {
    perror(what);
    exit(1);
}

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* "127.0.0.1:4433", moving `text` behind it. */
static inline struct sockaddr_in parse_address(char **text) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    char *port = strchr(*text, ':'), *end = NULL;
    if (port) *port = 0;
    if (!port || inet_pton(AF_INET, *text, &address.sin_addr) != 1) {
        fprintf(stderr, "not an address and port: %s\n", *text);
        exit(2);
    }
    address.sin_port = htons((uint16_t)strtoul(port + 1, &end, 10));
    *text = end;
    return address;
}

static inline int open_socket(struct sockaddr_in address, int is_shared) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, size = RECEIVE_BUFFER_BYTES;
    if (fd < 0) die("socket");
    if (is_shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one)) die("SO_REUSEPORT");
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (bind(fd, (struct sockaddr *)&address, sizeof address)) die("bind");
    return fd;
}

/* Everything is sent or, if the kernel refuses a message, left out; returns how many were refused. */
static inline unsigned send_all(int fd, struct mmsghdr *messages, unsigned count) {
    unsigned refused = 0;
    for (unsigned done = 0; done < count;) {
        int n = sendmmsg(fd, messages + done, count - done, 0);
        if (n > 0) {
            done += (unsigned)n;
        } else if (errno == EAGAIN || errno == ENOBUFS) {
            struct pollfd writable = {.fd = fd, .events = POLLOUT};
            poll(&writable, 1, 1);
        } else if (errno != EINTR) {
            refused++, done++;
        }
    }
    return refused;
}

static inline int receive_batch(int fd, struct mmsghdr *messages, unsigned count) {
    int n = recvmmsg(fd, messages, count, MSG_DONTWAIT, NULL);
    return n < 0 ? 0 : n;
}

static inline void put_control(struct msghdr *header, int level, int type, const void *value, size_t length) {
    struct cmsghdr *control = (struct cmsghdr *)header->msg_control;
    header->msg_controllen = CMSG_SPACE(length);
    control->cmsg_level = level;
    control->cmsg_type = type;
    control->cmsg_len = CMSG_LEN(length);
    memcpy(CMSG_DATA(control), value, length);
}

static inline const void *find_control(struct msghdr *header, int level, int type) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c))
        if (c->cmsg_level == level && c->cmsg_type == type) return CMSG_DATA(c);
    return NULL;
}
