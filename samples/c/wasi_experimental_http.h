/*
 * Outbound HTTP for a WAGI guest: the import module `wasi_experimental_http`.
 *
 *     uint16_t status;
 *     uint32_t response, n;
 *     char text[512];
 *     const char url[] = "https://example.com/", method[] = "GET";
 *     if (http_req(url, strlen(url), method, strlen(method), "", 0, "", 0, &status, &response) == HTTP_OK) {
 *         if (http_body_read(response, text, sizeof text, &n) == HTTP_OK)
 *             fwrite(text, 1, n, stdout);
 *         http_close(response);
 *     }
 *
 * Every function returns HTTP_OK or one of the errors below. Text is passed as address and length, without a NUL.
 */
#ifndef WASI_EXPERIMENTAL_HTTP_H
#define WASI_EXPERIMENTAL_HTTP_H

#include <stddef.h>
#include <stdint.h>

enum {
    HTTP_OK = 0,
    HTTP_INVALID_HANDLE = 1,
    HTTP_MEMORY_NOT_FOUND = 2,
    HTTP_MEMORY_ACCESS = 3,
    HTTP_BUFFER_TOO_SMALL = 4,
    HTTP_HEADER_NOT_FOUND = 5,
    HTTP_UTF8 = 6,
    HTTP_DESTINATION_NOT_ALLOWED = 7,
    HTTP_INVALID_METHOD = 8,
    HTTP_INVALID_ENCODING = 9,
    HTTP_INVALID_URL = 10,
    HTTP_REQUEST_ERROR = 11,
    HTTP_RUNTIME_ERROR = 12,
    HTTP_TOO_MANY_SESSIONS = 13
};

#define HTTP_IMPORT(name) __attribute__((import_module("wasi_experimental_http"), import_name(name)))

/*
 * Sends a request. `headers` holds one `name:value` a line; of a repeated name the last is sent. On success the response
 * stays open until http_close, whatever its status.
 */
HTTP_IMPORT("req")
uint32_t http_req(const char *url, size_t url_len, const char *method, size_t method_len,
                  const char *headers, size_t headers_len, const char *body, size_t body_len,
                  uint16_t *status, uint32_t *response);

/* Gives a response back; the gateway limits how many may be open at once. */
HTTP_IMPORT("close")
uint32_t http_close(uint32_t response);

/* Copies the first value of a response header, or nothing if the buffer is too small for all of it. */
HTTP_IMPORT("header_get")
uint32_t http_header_get(uint32_t response, const char *name, size_t name_len,
                         char *buffer, size_t buffer_len, uint32_t *written);

/* Copies all response headers, one `name:value` a line. */
HTTP_IMPORT("headers_get_all")
uint32_t http_headers_get_all(uint32_t response, char *buffer, size_t buffer_len, uint32_t *written);

/* Copies the next part of the response body; at its end `written` is 0. */
HTTP_IMPORT("body_read")
uint32_t http_body_read(uint32_t response, char *buffer, size_t buffer_len, uint32_t *written);

#endif
