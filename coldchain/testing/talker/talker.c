// talker: one byte there and back over TCP, again and again, and how long it took.
//
//   talker serve PORT                        answers each byte with a byte, for ever
//   talker round-trips ADDRESS PORT COUNT    on one connection; prints seconds
//   talker connections ADDRESS PORT COUNT    a new one for each byte, one after the other; prints seconds
//
// As many again, up to a tenth, go before and are not timed.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 4096, EVENTS = 64 };

static void fail(const char *what) {
    fprintf(stderr, "talker: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in address_of(const char *address, const char *port) {
    struct sockaddr_in found = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
    if (inet_pton(AF_INET, address, &found.sin_addr) != 1) {
        errno = EINVAL;
        fail(address);
    }
    return found;
}

static void at_once(int connection) {
    int yes = 1;
    if (setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != 0) fail("TCP_NODELAY");
}

static void watch(int events, int descriptor) {
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = descriptor};
    if (epoll_ctl(events, EPOLL_CTL_ADD, descriptor, &wanted) != 0) fail("epoll_ctl");
}

static void answer(int connection) {
    char bytes[256];
    ssize_t got = read(connection, bytes, sizeof bytes);
    if (got <= 0 || write(connection, bytes, (size_t)got) != got) close(connection);
}

static void serve(const char *port) {
    struct sockaddr_in here = address_of("0.0.0.0", port);
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0), events = epoll_create1(0);
    if (listener < 0 || events < 0) fail("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) != 0) fail("bind");
    if (listen(listener, BACKLOG) != 0) fail("listen");
    watch(events, listener);
    for (;;) {
        struct epoll_event happened[EVENTS];
        int count = epoll_wait(events, happened, EVENTS, -1);
        for (int each = 0; each < count; each++) {
            int descriptor = happened[each].data.fd;
            if (descriptor != listener) {
                answer(descriptor);
                continue;
            }
            int connection = accept(listener, NULL, NULL);
            if (connection < 0) continue;  // it was reset before we came
            at_once(connection);
            watch(events, connection);
        }
    }
}

static int connected(const struct sockaddr_in *there) {
    // Closing resets, so that no port is used up for the minute after a connection.
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connection < 0) fail("socket");
    setsockopt(connection, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    at_once(connection);
    if (connect(connection, (const struct sockaddr *)there, sizeof *there) != 0) fail("connect");
    return connection;
}

static void there_and_back(int connection) {
    char byte = 'x';
    if (write(connection, &byte, 1) != 1) fail("write");
    if (read(connection, &byte, 1) != 1) fail("read");
}

static void round_trips(const struct sockaddr_in *there, int count) {
    static int connection = -1;
    if (connection < 0) connection = connected(there);
    for (int each = 0; each < count; each++) there_and_back(connection);
}

static void connections(const struct sockaddr_in *there, int count) {
    for (int each = 0; each < count; each++) {
        int connection = connected(there);
        there_and_back(connection);
        close(connection);
    }
}

static double now(void) {
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return (double)moment.tv_sec + (double)moment.tv_nsec / 1e9;
}

int main(int count, char **words) {
    if (count == 3 && strcmp(words[1], "serve") == 0) serve(words[2]);
    if (count != 5) {
        fprintf(stderr, "usage: talker serve PORT | round-trips ADDRESS PORT COUNT | connections ADDRESS PORT COUNT\n");
        return 2;
    }
    struct sockaddr_in there = address_of(words[2], words[3]);
    void (*talk)(const struct sockaddr_in *, int) = strcmp(words[1], "connections") == 0 ? connections : round_trips;
    int wanted = atoi(words[4]);
    talk(&there, wanted / 10 + 1);
    double began = now();
    talk(&there, wanted);
    printf("%.6f\n", now() - began);
    return 0;
}
