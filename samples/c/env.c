/* Shows the whole request: arguments, environment and the size of standard input. */
#include <stdio.h>
#include <stdlib.h>

extern char **environ;

/* Compares two NAME=value strings by name alone. */
static int by_name(const void *left, const void *right)
{
    const char *a = *(const char *const *)left, *b = *(const char *const *)right;
    while (*a == *b && *a != '=' && *a != '\0')
        a++, b++;
    int x = *a == '=' ? 0 : (unsigned char)*a;
    int y = *b == '=' ? 0 : (unsigned char)*b;
    return x - y;
}

int main(int argc, char **argv)
{
    puts("content-type: text/plain; charset=utf-8\n");

    for (int i = 0; i < argc; i++)
        puts(argv[i]);

    size_t variables = 0;
    while (environ[variables])
        variables++;
    qsort(environ, variables, sizeof *environ, by_name);
    for (size_t i = 0; i < variables; i++)
        puts(environ[i]);

    static char chunk[16384];
    unsigned long long bytes = 0;
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, stdin)) > 0;)
        bytes += n;
    printf("stdin: %llu bytes\n", bytes);
    return ferror(stdin) || fflush(stdout) ? 1 : 0;
}
