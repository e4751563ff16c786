/* HTTP/1.1 requests as bytes: nothing here knows of sockets, time or what is answered. */
#ifndef COLDCHAIN_HTTP_H
#define COLDCHAIN_HTTP_H

#include <stdbool.h>
#include <stddef.h>

enum { METHOD_SIZE = 16, TARGET_SIZE = 2048, ID_SIZE = 128 };

enum body_state { BODY_DONE, BODY_LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILERS };

struct request {
    char method[METHOD_SIZE];
    char target[TARGET_SIZE];
    char id[ID_SIZE];            /* X-Request-Id with every byte that is not safe in JSON made `_`; empty without one */
    bool version_1_1;
    bool keep_alive;
    bool expects_continue;
    enum body_state body;
    unsigned long long remaining; /* bytes of the body, or of the current chunk, still to come */
};

/* The length of the head including its empty line, 0 while it is not complete. */
size_t head_length(const char *bytes, size_t length);

/* Reads a complete head. Returns 0, or the status (400, 414, 501, 505) with which it must be refused. */
int parse_head(struct request *request, const char *bytes, size_t length);

/* Skips what belongs to the body. Returns the bytes consumed, or -1 when the chunks are malformed. */
long skip_body(struct request *request, const char *bytes, size_t length);

/* True when the path of the request (without its query) is exactly `path`. */
bool path_is(const struct request *request, const char *path);

/* The number after `name=` in the query; -1 when there is none. */
long query_number(const struct request *request, const char *name);

/* Makes every byte that is not safe inside a JSON string, a header or a record `_`. */
void make_safe(char *text);

#endif
