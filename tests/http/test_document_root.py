"""The document root of a module: which script or file answers a path, and what the script's guest is given."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import Server, running
from tests.support.config import config, module
from tests.support.env_guest import ENV, Seen, seen

SOURCE = b"<?php secret"
FILES = {
    "index.php": SOURCE,
    "hello.php": SOURCE,
    "style.css": b"a{}",
    "a b+\u00e9.php": SOURCE,
    "docs/index.html": b"<p>docs",
    "admin/index.php": SOURCE,
    "empty/x.jpg": b"GIF<?php secret",
    "x.jpg": b"GIF<?php secret",
    "folder.php/inner.txt": b"inner",
    "folder.php/index.html": b"<p>folder",
    ".htaccess": SOURCE,
    ".git/hook.php": SOURCE,
    ".git/config": SOURCE,
    ".env": SOURCE,
    ".well-known/a.txt": b"known",
    ".hidden.php": SOURCE,
    "LOUD.PHP": SOURCE,
    "old.php5": SOURCE,
    "old.php~": SOURCE,
    "old.php.bak": SOURCE,
    "old.php.": SOURCE,
    "old.PHP.txt": SOURCE,
    "view.phtml": SOURCE,
    "test.phpt": SOURCE,
    "lib.inc": SOURCE,
    "app.phar": SOURCE,
    "php.ini": SOURCE,
    "data.phpx": b"no source",
    "incs.txt": b"text",
}
CONFIG = config(
    module("/...", "../env.wat", document_root="../site"),
    module("/blog/...", "../env.wat", document_root={"path": "../site", "cache_control": "max-age=60"}),
    module("/front/...", "../env.wat", document_root={"path": "../site", "front_controller": "index.php"}),
    module(
        "/only/...", "../env.wat", document_root={"path": "../site", "front_controller": "index.php", "scripts": []}
    ),
    module("/one", "../env.wat", document_root={"path": "../site/", "front_controller": "admin/index.php"}),
    module(
        "/public/...",
        "../env.wat",
        volumes={"/srv": {"path": "..", "read_only": True}, "/tmp": "../tmp"},
        document_root="../site/docs/../",
    ),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("root")
    site = folder / "site"
    for name, data in FILES.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(data)
    (folder / "secret.php").write_bytes(SOURCE)
    (folder / "siteb").mkdir()
    (folder / "siteb" / "x.php").write_bytes(SOURCE)
    for link, target in {
        "out.php": "../secret.php",
        "out": "..",
        "beside": "../siteb",
        "loop.php": "loop.php",
        "picture.php": "x.jpg",
        "source.txt": "hello.php",
        "git.txt": ".git/config",
        "alias.php": "hello.php",
        "alias.css": "style.css",
    }.items():
        (site / link).symlink_to(target)
    os.mkfifo(site / "pipe.php")
    (folder / "env.wat").write_text(ENV)
    (folder / "etc").mkdir()
    (folder / "tmp").mkdir()
    (folder / "etc" / "modules.toml").write_text(CONFIG)
    with running(folder, folder / "etc" / "modules.toml", cache=folder / "cache") as server:
        yield server


def ask(server: Server, path: str, method: str = "GET") -> bytes:
    """The status line's code, a blank, and the body, for a target that is sent unchanged."""
    request = f"{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
    head, _, body = server.exchange(request).partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        body = body.partition(b"\r\n")[2]
    return head.split()[1] + b" " + body


def run(server: Server, path: str, method: str = "GET") -> Seen:
    answer = server.client.request(method, server.url + path)
    assert answer.status_code == 200
    return seen(answer.content)


@pytest.mark.parametrize(
    ("path", "script_name", "path_info", "filename"),
    [
        ("/hello.php", "/hello.php", "", "/app/hello.php"),
        ("/hello.php?-s", "/hello.php", "", "/app/hello.php"),
        ("/hello.php/", "/hello.php", "/", "/app/hello.php"),
        ("/hello.php/a%20b/c.php", "/hello.php", "/a b/c.php", "/app/hello.php"),
        ("/hello.php/y.jpg", "/hello.php", "/y.jpg", "/app/hello.php"),
        ("/hello.php/a%2Fb//.c/", "/hello.php", "/a/b//.c/", "/app/hello.php"),
        ("/h%65llo%2ephp", "/hello.php", "", "/app/hello.php"),
        ("/docs/%2e%2e/hello.php", "/hello.php", "", "/app/hello.php"),
        ("/a%20b+%C3%A9.php", "/a b+é.php", "", "/app/a b+é.php"),
        ("/", "/index.php", "", "/app/index.php"),
        ("/admin/", "/admin/index.php", "", "/app/admin/index.php"),
        ("/alias.php", "/alias.php", "", "/app/alias.php"),
        ("/LOUD.PHP", "/LOUD.PHP", "", "/app/LOUD.PHP"),
        ("/blog/hello.php/b", "/blog/hello.php", "/b", "/app/hello.php"),
        ("/blog/", "/blog/index.php", "", "/app/index.php"),
        ("/front/hello.php", "/front/hello.php", "", "/app/hello.php"),
        ("/front/nothing/here?a=b", "/front/index.php", "", "/app/index.php"),
        ("/front", "/front/index.php", "", "/app/index.php"),
        ("/front/empty/", "/front/index.php", "", "/app/index.php"),
        ("/front/.env", "/front/index.php", "", "/app/index.php"),
        ("/front/old.php~", "/front/index.php", "", "/app/index.php"),
        ("/front/x.jpg/a.php", "/front/index.php", "", "/app/index.php"),
        ("/front/a%2Fb", "/front/index.php", "", "/app/index.php"),
        ("/front/" + "n" * 300, "/front/index.php", "", "/app/index.php"),
        ("/only/hello.php", "/only/index.php", "", "/app/index.php"),
        ("/one", "/one/admin/index.php", "", "/app/admin/index.php"),
        ("/public/hello.php/i", "/public/hello.php", "/i", "/srv/site/hello.php"),
    ],
)
def test_scripts(server: Server, path: str, script_name: str, path_info: str, filename: str) -> None:
    if path == "/front":  # a directory without its slash
        path = "/front/"
    found = run(server, path)
    root = filename[: 9 if filename.startswith("/srv") else 4].encode()
    assert {
        name: value if (value := found[name]) is None else value.decode()
        for name in ("SCRIPT_NAME", "PATH_INFO", "SCRIPT_FILENAME", "PATH_TRANSLATED", "REDIRECT_STATUS", "TMPDIR")
    } == {
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info,
        "SCRIPT_FILENAME": filename,
        "PATH_TRANSLATED": root.decode() + path_info if path_info else None,
        "REDIRECT_STATUS": "200",
        "TMPDIR": "/tmp",
    }
    assert (found["DOCUMENT_ROOT"], found["REQUEST_URI"]) == (root, path.encode())
    assert found["X_RAW_PATH_INFO"] == (path_info.replace("a/b", "a%2Fb").replace(" ", "%20").encode())
    assert len(found.argv) == 1  # CVE-2012-1823: no option of the query reaches the interpreter


@pytest.mark.parametrize("path_info", ["/x.jpg", "/docs/index.html", "/hello.php"])
def test_no_file_takes_the_place_of_the_script(server: Server, path_info: str) -> None:
    found = run(server, "/hello.php" + path_info)
    assert (found["PATH_INFO"], found["PATH_TRANSLATED"]) == (path_info.encode(), None)


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
def test_other_methods_are_the_scripts(server: Server, method: str) -> None:
    assert run(server, "/", method)["REQUEST_METHOD"] == method.encode()
    assert ask(server, "/style.css", method).startswith(b"405 ")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/style.css", b"a{}"),
        ("/front/style.css", b"a{}"),
        ("/alias.css", b"a{}"),
        ("/docs/", b"<p>docs"),
        ("/x.jpg", FILES["x.jpg"]),
        ("/folder.php/inner.txt", b"inner"),
        ("/.well-known/a.txt", b"known"),
        ("/data.phpx", b"no source"),
        ("/incs.txt", b"text"),
    ],
)
def test_files(server: Server, path: str, body: bytes) -> None:
    assert ask(server, path) == b"200 " + body


def test_files_have_the_fields_of_static_files(server: Server) -> None:
    answer = server.get("/blog/style.css")
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == (
        "text/css; charset=utf-8",
        "max-age=60",
    )
    again = server.client.get(server.url + "/blog/style.css", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("path", "location"),
    [("/docs?a=b", "/docs/?a=b"), ("/admin", "/admin/"), ("/blog", "/blog/"), ("/folder.php", "/folder.php/")],
)
def test_a_directory_without_its_slash(server: Server, path: str, location: str) -> None:
    answer: httpx.Response = server.get(path)
    assert (answer.status_code, answer.headers["location"]) == (307, location)


NOTHING = """/nothing /nothing.php /x.jpg/a.php /x.jpg/hello.php /x.jpg/ /x.jpg/.php /style.css/index.php /empty/ /empty
 /empty/x.jpg/x.php /hello.php%2Fx /x.jpg%2Fa.php //hello.php /docs//index.html /hello.ph%70%2f..%2fx.jpg
 /.htaccess /.git/hook.php /.git/config /.env /.hidden.php /%2egit/config /.git%2Fconfig /docs/../.env /.%65nv
 /HELLO.PHP /Hello.php /hello.php. /hello.php.. /hello.php%20 /hello.php::$DATA /hello.php~
 /hello.php%E3%80%82 /hello.php%2500
 /old.php5 /old.php~ /old.php.bak /old.php. /old.PHP.txt /view.phtml /test.phpt /lib.inc /app.phar /php.ini
 /out.php /out/secret.php /out/site/hello.php /beside/x.php /loop.php /pipe.php /picture.php /picture.php/a
 /source.txt /git.txt /only/../../x /only%2f..%2fhello.php""".split()


@pytest.mark.parametrize("path", NOTHING)
def test_what_is_neither_run_nor_sent(server: Server, path: str) -> None:
    answer = ask(server, path)
    assert answer.partition(b" ")[0] in (b"404", b"400"), answer
    assert b"secret" not in answer


@pytest.mark.parametrize(
    "path", ["/hello.php%00", "/hello.php%00.css", "/..%2fsecret.php", "/%2e%2e/secret.php", "/%ff.php"]
)
def test_a_path_that_no_file_has_is_a_bad_request(server: Server, path: str) -> None:
    assert ask(server, path).startswith(b"400 ")


def test_a_name_that_is_too_long_and_one_that_is_exact(server: Server) -> None:
    assert ask(server, "/" + "n" * 300).startswith(b"404 ")
    assert ask(server, "/one/more").startswith(b"404 ")


def test_a_file_there_is_no_descriptor_for(server: Server) -> None:
    assert server.get("/style.css").status_code == 200
    usual = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (0, usual[1]))
    answer = server.get("/style.css")
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, usual)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert server.get("/style.css").status_code == 200


@pytest.mark.parametrize("path", ["/hello.php?" + "q" * 8000, "/hello.php/" + "i" * 7900])
def test_a_request_that_is_not_usual(server: Server, path: str) -> None:
    assert ask(server, path).partition(b" ")[0] in (b"200", b"414")
