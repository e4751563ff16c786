#define _GNU_SOURCE
#include "http.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct text {
    const char *start;
    size_t length;
};

static bool equals(struct text text, const char *word)
{
    return text.length == strlen(word) && strncasecmp(text.start, word, text.length) == 0;
}

static struct text trimmed(const char *start, const char *end)
{
    while (start < end && (*start == ' ' || *start == '\t'))
        start++;
    while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (struct text){start, (size_t)(end - start)};
}

static bool lists_token(struct text value, const char *token)
{
    const char *end = value.start + value.length;
    for (const char *start = value.start; start <= end;) {
        const char *comma = memchr(start, ',', (size_t)(end - start));
        const char *stop = comma ? comma : end;
        if (equals(trimmed(start, stop), token))
            return true;
        start = stop + 1;
    }
    return false;
}

static bool decimal(struct text value, unsigned long long *number)
{
    if (value.length == 0 || value.length > 18)
        return false;
    *number = 0;
    for (size_t i = 0; i < value.length; i++) {
        if (!isdigit((unsigned char)value.start[i]))
            return false;
        *number = *number * 10 + (unsigned long long)(value.start[i] - '0');
    }
    return true;
}

static bool copy(char *to, size_t size, const char *start, size_t length)
{
    if (length >= size)
        return false;
    memcpy(to, start, length);
    to[length] = 0;
    return true;
}

void make_safe(char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~' || *text == '"' || *text == '\\')
            *text = '_';
}

size_t head_length(const char *bytes, size_t length)
{
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);
    return end ? (size_t)(end - bytes) + 4 : 0;
}

static int parse_request_line(struct request *request, const char *line, const char *end)
{
    const char *first = memchr(line, ' ', (size_t)(end - line));
    const char *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;
    if (!second || first == line || second == first + 1)
        return 400;
    for (const char *byte = line; byte < first; byte++)
        if (!isupper((unsigned char)*byte))
            return 400;
    if (!copy(request->method, METHOD_SIZE, line, (size_t)(first - line)))
        return 501;
    for (const char *byte = first + 1; byte < second; byte++)
        if (*byte <= ' ' || *byte > '~')
            return 400;
    if (!copy(request->target, TARGET_SIZE, first + 1, (size_t)(second - first - 1)))
        return 414;
    struct text version = {second + 1, (size_t)(end - second - 1)};
    if (version.length != 8 || memcmp(version.start, "HTTP/", 5) != 0)
        return 400;
    request->version_1_1 = memcmp(version.start, "HTTP/1.1", 8) == 0;
    if (!request->version_1_1 && memcmp(version.start, "HTTP/1.0", 8) != 0)
        return 505;
    request->keep_alive = request->version_1_1;
    return 0;
}

struct framing {
    int hosts, lengths, codings;
};

static int parse_header(struct request *request, struct framing *seen, const char *line, const char *end)
{
    const char *colon = memchr(line, ':', (size_t)(end - line));
    if (!colon || colon == line)
        return 400;
    for (const char *byte = line; byte < colon; byte++)
        if (*byte <= ' ' || *byte > '~')
            return 400;
    struct text name = {line, (size_t)(colon - line)}, value = trimmed(colon + 1, end);
    if (equals(name, "Host")) {
        seen->hosts++;
    } else if (equals(name, "Content-Length")) {
        if (seen->lengths++ || !decimal(value, &request->remaining))
            return 400;
    } else if (equals(name, "Transfer-Encoding")) {
        if (seen->codings++ || !equals(value, "chunked"))
            return 501;
    } else if (equals(name, "Connection")) {
        if (lists_token(value, "close"))
            request->keep_alive = false;
        else if (lists_token(value, "keep-alive"))
            request->keep_alive = true;
    } else if (equals(name, "Expect")) {
        request->expects_continue = equals(value, "100-continue");
    } else if (equals(name, "X-Request-Id")) {
        if (!copy(request->id, ID_SIZE, value.start, value.length))
            return 400;
        make_safe(request->id);
    }
    return 0;
}

int parse_head(struct request *request, const char *bytes, size_t length)
{
    *request = (struct request){.body = BODY_DONE};
    struct framing seen = {0, 0, 0};
    const char *stop = bytes + length - 2; /* the empty line */
    int refused = 0;
    for (const char *line = bytes; line < stop && !refused;) {
        const char *end = memmem(line, (size_t)(stop - line) + 2, "\r\n", 2);
        refused = line == bytes ? parse_request_line(request, line, end) : parse_header(request, &seen, line, end);
        line = end + 2;
    }
    if (refused)
        return refused;
    if (!*request->method || seen.hosts > 1 || (request->version_1_1 && !seen.hosts))
        return 400;
    if (seen.codings && (seen.lengths || !request->version_1_1))
        return 400;
    if (seen.codings)
        request->body = CHUNK_SIZE;
    else if (request->remaining)
        request->body = BODY_LENGTH;
    return 0;
}

/* One line of a chunked body, or of its trailers. Returns the bytes consumed, 0 when it is incomplete, -1 malformed. */
static long chunk_line(struct request *request, const char *bytes, size_t length)
{
    const char *end = memmem(bytes, length, "\r\n", 2);
    if (!end)
        return 0;
    long consumed = end - bytes + 2;
    if (request->body == CHUNK_TRAILERS) {
        if (consumed == 2)
            request->body = BODY_DONE;
    } else if (request->body == CHUNK_END) {
        if (consumed != 2)
            return -1;
        request->body = CHUNK_SIZE;
    } else {
        size_t digits = strspn(bytes, "0123456789abcdefABCDEF");
        if (digits == 0 || digits > 15 || (bytes[digits] != '\r' && bytes[digits] != ';'))
            return -1;
        request->remaining = strtoull(bytes, NULL, 16);
        request->body = request->remaining ? CHUNK_DATA : CHUNK_TRAILERS;
    }
    return consumed;
}

long skip_body(struct request *request, const char *bytes, size_t length)
{
    size_t used = 0;
    while (request->body != BODY_DONE && used < length) {
        if (request->body == BODY_LENGTH || request->body == CHUNK_DATA) {
            size_t left = length - used;
            size_t take = request->remaining < left ? (size_t)request->remaining : left;
            used += take;
            request->remaining -= take;
            if (!request->remaining)
                request->body = request->body == BODY_LENGTH ? BODY_DONE : CHUNK_END;
            continue;
        }
        long line = chunk_line(request, bytes + used, length - used);
        if (line < 0)
            return -1;
        if (line == 0)
            break;
        used += (size_t)line;
    }
    return (long)used;
}

bool path_is(const struct request *request, const char *path)
{
    size_t length = strcspn(request->target, "?");
    return length == strlen(path) && memcmp(request->target, path, length) == 0;
}

long query_number(const struct request *request, const char *name)
{
    size_t length = strlen(name);
    const char *part = strchr(request->target, '?');
    while (part) {
        part++;
        if (strncmp(part, name, length) == 0 && part[length] == '=') {
            unsigned long long number;
            const char *start = part + length + 1;
            if (decimal((struct text){start, strcspn(start, "&")}, &number) && number < 1000000000)
                return (long)number;
            return -1;
        }
        part = strchr(part, '&');
    }
    return -1;
}
