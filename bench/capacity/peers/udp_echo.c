/* What no server on this machine can do without: each datagram is received, and goes back as it came.
 *
 *   udp_echo ADDRESS:PORT
 *
 * No TLS, no QUIC, no timer; one thread, two system calls a datagram. What begins with ACK, as
 * ../native/src/bare_udp.rs says, is not answered. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { ACK = 0 };

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET}, peer;
    char datagram[2048], *port = argc == 2 ? strchr(argv[1], ':') : NULL;
    if (!port) return 2;
    *port++ = 0;
    address.sin_port = htons((unsigned short)atoi(port));
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1 || bind(fd, (struct sockaddr *)&address, sizeof address)) {
        perror("bind");
        return 1;
    }
    puts("ready"), fflush(stdout);
    for (;;) {
        socklen_t length = sizeof peer;
        ssize_t size = recvfrom(fd, datagram, sizeof datagram, 0, (struct sockaddr *)&peer, &length);
        if (size > 0 && datagram[0] != ACK) sendto(fd, datagram, (size_t)size, 0, (struct sockaddr *)&peer, length);
    }
}
