/*
 * Makes the outbound calls that its standard input asks for, one a line, and prints one line for each result.
 *
 *     header TEXT          adds a line to the next request's headers
 *     body TEXT            the next request's body; `fill N` gives it N bytes, 0 to 250 and again
 *     req METHOD URL       req ERROR STATUS HANDLE      and that handle is the one in use
 *     use HANDLE                                        another handle for what follows
 *     get NAME SIZE        get ERROR WRITTEN VALUE      into a buffer of SIZE bytes
 *     all SIZE             all ERROR WRITTEN VALUES
 *     read SIZE            read ERROR WRITTEN BYTES     once
 *     drain SIZE           drain ERROR TOTAL FNV READS  to the end; FNV-1a of all bytes, and how often it read
 *     close                close ERROR
 *     put OFFSET TEXT                                   into the scratch area
 *     peek OFFSET N        peek BYTES                   out of it
 *     raw FUNCTION A...    raw ERROR                    any numbers as arguments; &N is scratch + N, ^N is the memory's
 *                                                       end - N
 *
 * Values are percent-encoded. A line that is not understood ends the program with code 2.
 */
#include "wasi_experimental_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char headers[1 << 18], body[1 << 24], buffer[1 << 21], scratch[1 << 16];
static size_t headers_len, body_len;
static uint32_t handle;

/* The next word of the line; empty at its end. */
static char *word(char **line)
{
    char *start = *line, *end = start + strcspn(start, " ");
    *line = *end ? end + 1 : end;
    *end = '\0';
    return start;
}

static uint32_t number(char **line)
{
    char *text = word(line), *end;
    int relative = *text == '&' || *text == '^';
    uint32_t n = (uint32_t)strtoul(text + relative, &end, 0);
    if (end == text + relative || *end)
        exit(2);
    if (*text == '&')
        return (uint32_t)(uintptr_t)scratch + n;
    return *text == '^' ? (uint32_t)__builtin_wasm_memory_size(0) * 65536 - n : n;
}

/* A number of bytes that fit from some place on. */
static size_t size(char **line, size_t room)
{
    uint32_t n = number(line);
    if (n > room)
        exit(2);
    return n;
}

static size_t copy(char *to, size_t room, const char *text)
{
    size_t n = strlen(text);
    if (n > room)
        exit(2);
    memcpy(to, text, n);
    return n;
}

static void print(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i] > 0x20 && bytes[i] < 0x7f && bytes[i] != '%')
            putchar(bytes[i]);
        else
            printf("%%%02X", (unsigned char)bytes[i]);
    putchar('\n');
}

static void drain(size_t n)
{
    uint32_t error, hash = 2166136261u, reads = 0, total = 0, read;
    do {
        error = http_body_read(handle, buffer, n, &read);
        if (error)
            break;
        reads++;
        total += read;
        for (uint32_t i = 0; i < read; i++)
            hash = (hash ^ (unsigned char)buffer[i]) * 16777619u;
    } while (read);
    printf("drain %u %u %u %u\n", error, total, hash, reads);
}

static uint32_t raw(const char *function, char *line)
{
    uint32_t a[10] = {0};
    for (int i = 0; i < 10 && *line; i++)
        a[i] = number(&line);
#define P(i) ((void *)(uintptr_t)a[i])
    if (!strcmp(function, "req"))
        return http_req(P(0), a[1], P(2), a[3], P(4), a[5], P(6), a[7], P(8), P(9));
    if (!strcmp(function, "close"))
        return http_close(a[0]);
    if (!strcmp(function, "header_get"))
        return http_header_get(a[0], P(1), a[2], P(3), a[4], P(5));
    if (!strcmp(function, "headers_get_all"))
        return http_headers_get_all(a[0], P(1), a[2], P(3));
    if (!strcmp(function, "body_read"))
        return http_body_read(a[0], P(1), a[2], P(3));
    exit(2);
}

static void run(char *line)
{
    const char *command = word(&line);
    uint32_t error, written = 0;
    if (!strcmp(command, "header")) {
        headers_len += copy(headers + headers_len, sizeof headers - headers_len - 1, line);
        headers[headers_len++] = '\n';
    } else if (!strcmp(command, "body")) {
        body_len = copy(body, sizeof body, line);
    } else if (!strcmp(command, "fill")) {
        body_len = size(&line, sizeof body);
        for (size_t i = 0; i < body_len; i++)
            body[i] = (char)(i % 251);
    } else if (!strcmp(command, "req")) {
        const char *method = word(&line);
        uint16_t status = 0;
        uint32_t response = 0;
        error = http_req(line, strlen(line), method, strlen(method), headers, headers_len, body, body_len,
                         &status, &response);
        printf("req %u %u %u\n", error, (unsigned)status, response);
        handle = error ? handle : response;
        headers_len = body_len = 0;
    } else if (!strcmp(command, "use")) {
        handle = number(&line);
    } else if (!strcmp(command, "get")) {
        const char *name = word(&line);
        error = http_header_get(handle, name, strlen(name), buffer, size(&line, sizeof buffer), &written);
        printf("get %u %u ", error, written);
        print(buffer, written);
    } else if (!strcmp(command, "all")) {
        error = http_headers_get_all(handle, buffer, size(&line, sizeof buffer), &written);
        printf("all %u %u ", error, written);
        print(buffer, written);
    } else if (!strcmp(command, "read")) {
        error = http_body_read(handle, buffer, size(&line, sizeof buffer), &written);
        printf("read %u %u ", error, written);
        print(buffer, written);
    } else if (!strcmp(command, "drain")) {
        drain(size(&line, sizeof buffer));
    } else if (!strcmp(command, "close")) {
        printf("close %u\n", http_close(handle));
    } else if (!strcmp(command, "put")) {
        size_t at = size(&line, sizeof scratch);
        copy(scratch + at, sizeof scratch - at, line);
    } else if (!strcmp(command, "peek")) {
        size_t at = size(&line, sizeof scratch);
        fputs("peek ", stdout);
        print(scratch + at, size(&line, sizeof scratch - at));
    } else if (!strcmp(command, "raw")) {
        const char *function = word(&line);
        printf("raw %u\n", raw(function, line));
    } else {
        exit(2);
    }
}

int main(void)
{
    puts("content-type: text/plain\n");
    char *line = NULL;
    size_t room = 0;
    for (ssize_t n; (n = getline(&line, &room, stdin)) >= 0;) {
        if (n && line[n - 1] == '\n')
            line[n - 1] = '\0';
        run(line);
    }
    return fflush(stdout) ? 1 : 0;
}
