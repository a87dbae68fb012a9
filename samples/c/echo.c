/* Sends the request's body back with the request's content type, a chunk at a time. */
#include <stdio.h>
#include <stdlib.h>

/* True when the value can stand in a header: a line break in it would start a header of the client's choice. */
static int is_printable_ascii(const char *value)
{
    for (; *value; value++)
        if (*value < 0x20 || *value > 0x7e)
            return 0;
    return 1;
}

int main(void)
{
    const char *type = getenv("CONTENT_TYPE");
    if (!type || !*type || !is_printable_ascii(type))
        type = "application/octet-stream";
    fputs("content-type: ", stdout);
    fputs(type, stdout);
    fputs("\n\n", stdout);

    static char chunk[16384];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, stdin)) > 0;)
        if (fwrite(chunk, 1, n, stdout) != n)
            return 1;
    return ferror(stdin) || fflush(stdout) ? 1 : 0;
}
