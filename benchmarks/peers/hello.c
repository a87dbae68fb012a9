/* The output of samples/wat/hello.wat as a native CGI program; write(2) without stdio starts fastest. */
#include <unistd.h>

int main(void)
{
    static const char output[] = "Content-Type: text/plain\n\nhello world\n";
    return write(1, output, sizeof output - 1) != sizeof output - 1;
}
