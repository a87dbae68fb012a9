/* What samples/wat/hello.wat says, as a native CGI program; a write and no stdio, because that starts fastest. */
#include <unistd.h>

int main(void)
{
    static const char output[] = "Content-Type: text/plain\n\nhello world\n";
    return write(1, output, sizeof output - 1) != sizeof output - 1;
}
