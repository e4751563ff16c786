/* The test application: a static HTTP/1.1 server of one process (epoll) that does what settings.h says.
 * Any path answers with JSON {version, instance, request_id, method}; GET, HEAD, POST and all other methods alike. */
#define _GNU_SOURCE
#include "deadlines.h"
#include "http.h"
#include "settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_SIZE = 8192, OUTPUT_SIZE = 2048, BATCH = 256, LINGER_MS = 1000 };

enum state { READING_HEAD, READING_BODY, WORKING, WRITING, LINGERING };

struct connection {
    struct deadline deadline; /* of the work or of the lingering */
    int fd;
    uint32_t interest; /* what epoll watches; 0: nothing, it is not even in the set */
    enum state state;
    struct connection *next, *previous;
    struct request request;
    int refused; /* status with which the request is refused, 0: none */
    size_t input_length, output_length, output_sent;
    char input[INPUT_SIZE], output[OUTPUT_SIZE];
};

static int epoll_fd, listener = -1, signals, records = -1;
static int64_t listens_at, warm_at, crashes_at = NEVER, lame_until = NEVER, drain_until = NEVER;
static int health_switch = NEVER; /* 0 or 1 once switched */
static bool draining;
static unsigned long worked; /* requests that had a service time to draw, for SLOW_PCT */
static unsigned long answered; /* requests that did some work, for ERROR_PCT */
static struct connection *connections;

static int64_t milliseconds(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static int64_t now(void) { return milliseconds(CLOCK_MONOTONIC); }

/* ---- connections ---- */

static void watch(struct connection *connection, uint32_t events)
{
    if (connection->interest == events)
        return;
    struct epoll_event event = {.events = events, .data.ptr = connection};
    int operation = !events ? EPOLL_CTL_DEL : connection->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    epoll_ctl(epoll_fd, operation, connection->fd, &event);
    connection->interest = events;
}

static void wait_for(struct connection *connection, long after_ms)
{
    if (!deadline_set(&connection->deadline, now() + after_ms))
        fail("out of memory", "deadlines");
}

static void close_connection(struct connection *connection)
{
    deadline_clear(&connection->deadline);
    close(connection->fd);
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    free(connection);
}

static bool idle(const struct connection *connection)
{
    return connection->state == LINGERING || (connection->state == READING_HEAD && connection->input_length == 0);
}

/* ---- answers ---- */

static bool healthy(void)
{
    if (now() < warm_at || lame_until != NEVER || draining)
        return false;
    if (health_switch != NEVER)
        return health_switch;
    return !settings.health_never && (!settings.health_file || access(settings.health_file, F_OK) == 0);
}

static int status_of(const struct request *request)
{
    if (path_is(request, "/health"))
        return healthy() ? 200 : 503;
    if (path_is(request, "/ready"))
        return now() >= warm_at && !draining ? 200 : 503;
    if (path_is(request, "/control/health")) {
        long ok = query_number(request, "ok");
        if (ok != 0 && ok != 1)
            return 400;
        health_switch = (int)ok;
    }
    return 200;
}

/* Of every hundred requests counted it falls to exactly so many percent, evenly spread. */
static bool falls_to(unsigned long *count, long percent)
{
    unsigned long before = *count * (unsigned long)percent / 100;
    unsigned long after = ++*count * (unsigned long)percent / 100;
    return after > before;
}

static bool is_work(const struct request *request)
{
    return !path_is(request, "/health") && !path_is(request, "/ready") && !path_is(request, "/control/health");
}

static bool record(const struct request *request)
{
    if (records < 0 || strcmp(request->method, "POST") != 0 || !*request->id || !is_work(request))
        return true;
    char line[3 * NAME_SIZE + 32];
    int length = snprintf(line, sizeof line, "%s %s %s %lld\n", request->id, settings.version, settings.instance,
                          (long long)milliseconds(CLOCK_REALTIME));
    return write(records, line, (size_t)length) == length;
}

static const char *reason(int status)
{
    switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 414: return "URI Too Long";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    default: return "HTTP Version Not Supported";
    }
}

static void compose_answer(struct connection *connection)
{
    struct request *request = &connection->request;
    int status = connection->refused;
    if (!status && !record(request))
        status = 500;
    if (!status)
        status = status_of(request);
    if (status == 200 && is_work(request) && falls_to(&answered, settings.error_percent))
        status = 500;
    if (draining || connection->refused)
        request->keep_alive = false;
    char body[2 * NAME_SIZE + ID_SIZE + METHOD_SIZE + 80];
    int length = snprintf(body, sizeof body,
                          "{\"version\":\"%s\",\"instance\":\"%s\",\"request_id\":\"%s\",\"method\":\"%s\"}\n",
                          settings.version, settings.instance, request->id, connection->refused ? "" : request->method);
    char echo[ID_SIZE + 20] = "";
    if (*request->id)
        snprintf(echo, sizeof echo, "X-Request-Id: %s\r\n", request->id);
    const char *persistence = !request->keep_alive        ? "Connection: close\r\n"
                              : !request->version_1_1 ? "Connection: keep-alive\r\n"
                                                      : "";
    int head = snprintf(connection->output, OUTPUT_SIZE,
                        "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                        "X-Version: %s\r\nX-Instance: %s\r\n%s%s\r\n",
                        status, reason(status), length, settings.version, settings.instance, echo, persistence);
    bool without_body = strcmp(request->method, "HEAD") == 0;
    if (!without_body)
        memcpy(connection->output + head, body, (size_t)length);
    connection->output_length = (size_t)head + (without_body ? 0 : (size_t)length);
    connection->output_sent = 0;
    connection->state = WRITING;
}

static long service_ms(const struct request *request)
{
    if (!is_work(request))
        return 0;
    long asked = query_number(request, "ms");
    if (asked >= 0)
        return asked;
    return falls_to(&worked, settings.slow_percent) ? settings.slow_ms : settings.request_ms;
}

/* ---- one connection's way: head, body, work, answer, and again ---- */

static void consume(struct connection *connection, size_t length)
{
    connection->input_length -= length;
    memmove(connection->input, connection->input + length, connection->input_length);
}

static void start_work(struct connection *connection)
{
    long wait_ms = connection->refused ? 0 : service_ms(&connection->request);
    if (!wait_ms) {
        compose_answer(connection);
        return;
    }
    /* Nothing is read meanwhile: a caller that goes away stops no work, as in most applications. */
    connection->state = WORKING;
    watch(connection, 0);
    wait_for(connection, wait_ms);
}

/* True when the state moved on. */
static bool read_head(struct connection *connection)
{
    size_t length = head_length(connection->input, connection->input_length);
    if (!length && connection->input_length < INPUT_SIZE)
        return false;
    struct request *request = &connection->request;
    connection->refused = length ? parse_head(request, connection->input, length) : 431;
    if (!length)
        *request = (struct request){.body = BODY_DONE};
    consume(connection, length);
    if (connection->refused) {
        start_work(connection);
        return true;
    }
    if (request->expects_continue && request->body != BODY_DONE && !connection->input_length)
        send(connection->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL);
    connection->state = READING_BODY;
    return true;
}

static bool read_body(struct connection *connection)
{
    struct request *request = &connection->request;
    long used = skip_body(request, connection->input, connection->input_length);
    if (used >= 0)
        consume(connection, (size_t)used);
    bool malformed = used < 0 || (request->body != BODY_DONE && connection->input_length == INPUT_SIZE);
    if (malformed)
        connection->refused = 400;
    else if (request->body != BODY_DONE)
        return false;
    start_work(connection);
    return true;
}

/* True when all is sent; closes the connection when it is broken and returns false. */
static bool write_answer(struct connection *connection)
{
    while (connection->output_sent < connection->output_length) {
        ssize_t sent = send(connection->fd, connection->output + connection->output_sent,
                            connection->output_length - connection->output_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            watch(connection, EPOLLOUT);
            return false;
        }
        if (sent < 0) {
            close_connection(connection);
            return false;
        }
        connection->output_sent += (size_t)sent;
    }
    if (connection->request.keep_alive) {
        connection->state = READING_HEAD;
        return true;
    }
    /* Closing with unread input would reset the connection and may destroy the answer on its way. */
    shutdown(connection->fd, SHUT_WR);
    connection->state = LINGERING;
    wait_for(connection, LINGER_MS);
    watch(connection, EPOLLIN);
    return false;
}

static void advance(struct connection *connection)
{
    for (bool moved = true; moved;) {
        switch (connection->state) {
        case READING_HEAD: moved = read_head(connection); break;
        case READING_BODY: moved = read_body(connection); break;
        case WRITING:
            if (!write_answer(connection))
                return;
            break;
        default: return;
        }
    }
    watch(connection, EPOLLIN);
}

static void on_ready(struct connection *connection)
{
    if (connection->state == WRITING) {
        advance(connection);
        return;
    }
    if (connection->state == LINGERING)
        connection->input_length = 0;
    ssize_t received = recv(connection->fd, connection->input + connection->input_length,
                            INPUT_SIZE - connection->input_length, 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (received <= 0) {
        close_connection(connection);
        return;
    }
    connection->input_length += (size_t)received;
    advance(connection);
}

static void on_deadline(struct connection *connection)
{
    deadline_clear(&connection->deadline);
    if (connection->state == LINGERING) {
        close_connection(connection);
        return;
    }
    compose_answer(connection);
    advance(connection);
}

static void accept_all(void)
{
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct connection *connection = calloc(1, sizeof *connection);
        if (!connection) {
            close(fd);
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        connection->fd = fd;
        connection->next = connections;
        if (connections)
            connections->previous = connection;
        connections = connection;
        watch(connection, EPOLLIN);
    }
}

/* ---- the process: start, stop, settings ---- */

static void start_listening(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)settings.port)};
    if (inet_pton(AF_INET, settings.bind, &name.sin_addr) != 1)
        fail("BIND must be an IPv4 address", settings.bind);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    socklen_t length = sizeof name;
    if (bind(listener, (struct sockaddr *)&name, length) || listen(listener, 4096))
        fail("cannot listen", strerror(errno));
    getsockname(listener, (struct sockaddr *)&name, &length);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    warm_at = now() + settings.warm_ms;
    printf("listening on port %d, version %s, instance %s\n", ntohs(name.sin_port), settings.version,
           settings.instance);
}

static void start_draining(void)
{
    puts("draining");
    draining = true;
    drain_until = now() + settings.drain_ms;
    if (listener >= 0) {
        accept_all(); /* a connection that waits in the queue would be reset by closing the listener */
        close(listener);
    }
    for (struct connection *next, *connection = connections; connection; connection = next) {
        next = connection->next;
        connection->request.keep_alive = false;
        if (connection->state == READING_HEAD && connection->input_length == 0)
            on_ready(connection); /* a request may already be here */
    }
    for (struct connection *next, *connection = connections; connection; connection = next) {
        next = connection->next;
        if (connection->state == READING_HEAD && connection->input_length == 0)
            close_connection(connection);
    }
}

static void on_signal(void)
{
    struct signalfd_siginfo ignored;
    if (read(signals, &ignored, sizeof ignored) < 0 || draining || lame_until != NEVER)
        return;
    if (settings.term_mode == TERM_EXIT)
        _exit(0);
    if (settings.term_mode == TERM_LAME) {
        puts("lame");
        lame_until = now() + settings.drain_ms;
    } else if (settings.term_mode == TERM_DRAIN) {
        start_draining();
    }
}

static void finish_when_drained(void)
{
    size_t busy = 0;
    for (struct connection *connection = connections; connection; connection = connection->next)
        busy += !idle(connection);
    if (!busy)
        exit(0);
    if (now() >= drain_until) {
        fprintf(stderr, "application: drain deadline, %zu requests cut off\n", busy);
        exit(1);
    }
}

static void open_records(void)
{
    if (!settings.records)
        return;
    char file[NAME_SIZE], path[4096];
    snprintf(file, sizeof file, "%s", settings.instance);
    for (char *byte = file; *byte; byte++)
        if (*byte == '/')
            *byte = '_';
    snprintf(path, sizeof path, "%s/%s.log", settings.records, file);
    records = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (records < 0)
        fail("cannot write RECORDS", path);
}

static int64_t earlier(int64_t one, int64_t other)
{
    return one == NEVER || (other != NEVER && other < one) ? other : one;
}

static int wait_ms(void)
{
    int64_t next = earlier(crashes_at, draining ? drain_until : lame_until);
    if (listener < 0)
        next = earlier(next, listens_at);
    if (deadline_next())
        next = earlier(next, deadline_next()->at);
    if (next == NEVER)
        return -1;
    int64_t wait = next - now();
    return wait < 0 ? 0 : wait > 60000 ? 60000 : (int)wait;
}

static void take_events(void)
{
    struct epoll_event events[BATCH];
    int count = epoll_wait(epoll_fd, events, BATCH, wait_ms());
    bool asked_to_end = false;
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == &signals)
            asked_to_end = true; /* after the others: it closes connections that may stand further down in this batch */
        else if (events[i].data.ptr == &listener)
            accept_all();
        else
            on_ready(events[i].data.ptr);
    }
    if (asked_to_end)
        on_signal();
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_settings();
    open_records();
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    /* As PID 1 the kernel drops signals without a handler, but never blocked ones: so block, and read them. */
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    signals = signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &signals};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, signals, &event);
    listens_at = now() + settings.start_ms;
    if (settings.crash_after_ms != NEVER)
        crashes_at = now() + settings.crash_after_ms;
    for (;;) {
        if (listener < 0 && now() >= listens_at)
            start_listening();
        take_events();
        for (struct deadline *next; (next = deadline_next()) && next->at <= now();)
            on_deadline((struct connection *)next);
        if (crashes_at != NEVER && now() >= crashes_at) {
            fputs("application: crashes, as CRASH_AFTER_MS says\n", stderr);
            exit(1);
        }
        if (lame_until != NEVER && now() >= lame_until && !draining)
            start_draining();
        if (draining)
            finish_when_drained();
    }
}
