/* The front page: one sentence and a link for each sample. */
#include <stdio.h>

static const char page[] =
    "<!doctype html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<title>wagi-gateway samples</title>\n"
    "</head>\n"
    "<body>\n"
    "<h1>wagi-gateway samples</h1>\n"
    "<p>Every page here, this one too, is printed by a WebAssembly program in a fresh sandbox.</p>\n"
    "<ul>\n"
    "<li><a href=\"/hello/world\">/hello/...</a> says hello from a few lines of WebAssembly text.</li>\n"
    "<li><a href=\"/error\">/error</a> answers with a status the guest chose.</li>\n"
    "<li><a href=\"/env/a/b?x=1&amp;y=2\">/env/...</a> shows the whole request as the guest sees it.</li>\n"
    "<li><a href=\"/echo\">/echo</a> sends the body of a POST back with its content type.</li>\n"
    "<li><a href=\"/http-example\">/http-example</a> makes an outbound request, if allowed_hosts lets it.</li>\n"
    "<li><a href=\"/fetch\">/fetch</a> calls the gateway itself, at the address it has by default.</li>\n"
    "<li><a href=\"/log\">/log</a> writes to the module's log.</li>\n"
    "<li><a href=\"/greet/bonjour\">/greet/bonjour</a> and <a href=\"/greet/hola/mundo\">/greet/hola/...</a>"
    " are two entrypoints of one module.</li>\n"
    "</ul>\n"
    "</body>\n"
    "</html>\n";

int main(void)
{
    fputs("content-type: text/html; charset=utf-8\n\n", stdout);
    fputs(page, stdout);
    return fflush(stdout) ? 1 : 0;
}
