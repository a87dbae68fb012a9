/* cat: prints the files its arguments name. */
#include <stdio.h>

int main(int argc, char **argv)
{
    char buffer[4096];
    size_t length;
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file) {
            perror(argv[i]);
            return 1;
        }
        while ((length = fread(buffer, 1, sizeof buffer, file)) > 0)
            fwrite(buffer, 1, length, stdout);
        fclose(file);
    }
    return 0;
}
