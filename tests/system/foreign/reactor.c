/* A reactor: no main. _initialize runs the constructor; each entrypoint then prints what it finds. */
#include <stdio.h>
#include <stdlib.h>

static int constructed;

__attribute__((constructor)) static void construct(void)
{
    constructed++;
}

__attribute__((export_name("_routes"))) void routes(void)
{
    for (int i = 0; i < constructed; i++)
        puts("/path path_info");
    fflush(stdout);
}

__attribute__((export_name("count"))) void count(void)
{
    printf("content-type: text/plain\n\nconstructed %d time(s)\n", constructed);
    fflush(stdout);
}

__attribute__((export_name("path_info"))) void path_info(void)
{
    printf("content-type: text/plain\n\n%s\n", getenv("X_MATCHED_ROUTE"));
    fflush(stdout);
}
