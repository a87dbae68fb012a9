/* Makes one outbound request and shows the beginning of the answer, or says in words why there is none. */
#include "wasi_experimental_http.h"

#include <stdio.h>
#include <string.h>

#define HOST "https://api.brigade.sh"

static const char url[] = HOST "/healthz";
static const char method[] = "GET";

static const char *const reasons[] = {
    [HTTP_INVALID_HANDLE] = "the response handle is not open",
    [HTTP_MEMORY_NOT_FOUND] = "the module does not export its memory",
    [HTTP_MEMORY_ACCESS] = "an address lies outside the module's memory",
    [HTTP_BUFFER_TOO_SMALL] = "a buffer is too small",
    [HTTP_HEADER_NOT_FOUND] = "the response has no such header",
    [HTTP_UTF8] = "a text is not valid UTF-8",
    [HTTP_DESTINATION_NOT_ALLOWED] = "allowed_hosts does not let this module call " HOST,
    [HTTP_INVALID_METHOD] = "the request method is invalid",
    [HTTP_INVALID_ENCODING] = "a request header is malformed",
    [HTTP_INVALID_URL] = "the URL is invalid",
    [HTTP_REQUEST_ERROR] = "no usable answer came from " HOST,
    [HTTP_RUNTIME_ERROR] = "the gateway failed while handling the request",
    [HTTP_TOO_MANY_SESSIONS] = "too many responses are open",
};

static int fail(uint32_t error)
{
    const char *verb = error == HTTP_DESTINATION_NOT_ALLOWED ? "denied" : "failed";
    const char *reason = error < sizeof reasons / sizeof *reasons ? reasons[error] : "unknown error";
    printf("status: 502 Bad Gateway\ncontent-type: text/plain\n\n");
    printf("outbound request %s: %s (wasi_experimental_http error %u)\n", verb, reason, (unsigned)error);
    return fflush(stdout) ? 1 : 0;
}

int main(void)
{
    uint16_t status;
    uint32_t response;
    uint32_t error = http_req(url, strlen(url), method, strlen(method), "", 0, "", 0, &status, &response);
    if (error)
        return fail(error);

    /* The body is read before anything is printed, so that a failure can still choose the status. */
    char body[512];
    uint32_t length = 0, read;
    do {
        error = http_body_read(response, body + length, sizeof body - length, &read);
        length += error ? 0 : read;
    } while (!error && read > 0 && length < sizeof body);
    http_close(response);
    if (error)
        return fail(error);

    printf("content-type: text/plain\n\n%s answered %u\n\n", url, (unsigned)status);
    fwrite(body, 1, length, stdout);
    return fflush(stdout) ? 1 : 0;
}
