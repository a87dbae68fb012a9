"""Requests through a real server: routing, statuses, framing, and secrets that no response may hold."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, Serve, Server, running, wait_until
from tests.support import guests
from tests.support.config import guest, module
from tests.support.error_body import error_body

ENV = ROOT / "samples" / "c" / "env.wasm"
ECHO = ENV.with_name("echo.wasm")


def test_hello(hello_server: Server) -> None:
    # On a busy machine the guest may be slow, and its output streamed.
    while "content-length" not in (response := hello_server.get("/hello/world")).headers:
        pass
    assert (response.status_code, response.text) == (200, "hello world\n")
    assert response.headers["content-type"] == "text/plain"
    assert response.headers["content-length"] == "12"
    assert response.headers["server"].startswith("wagi-gateway/")
    assert len(response.headers.get_list("date")) == 1


def test_no_route(hello_server: Server) -> None:
    response = hello_server.get("/nothing")
    body = error_body("Not Found", response.headers["x-request-id"])
    assert (response.status_code, response.reason_phrase, response.text) == (404, "Not Found", body)
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    head = hello_server.client.head(hello_server.url + "/nothing")
    assert (head.status_code, head.content, head.headers["content-length"]) == (404, b"", str(len(body)))


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
def test_health(hello_server: Server, method: str, path: str) -> None:
    response = hello_server.client.request(method, hello_server.url + path)
    assert response.status_code == 200
    assert response.text == ("" if method == "HEAD" else "OK")


def test_slashes_are_not_redirected(hello_server: Server) -> None:
    assert hello_server.get("/healthz/").status_code == 404


FAILURES = {
    "no output": (guests.NO_OUTPUT, 502),
    "no header": (guests.says(b"hello\n\n"), 502),
    "exit 3": (guests.exits(3), 500),
    "exit 3 in the block": (guests.exits(3, b"content-type: text/plain\n"), 500),
    "trap": (guests.TRAP, 500),
    "trap after all": (guests.says(guests.CONTENT_TYPE + b"hi", then="unreachable"), 500),
    "loop": (guests.LOOP, 504),
    "endless": (
        guests.says(guests.CONTENT_TYPE, repeat="(call $write (i32.const 1) (i32.const 0) (i32.const 1))"),
        200,
    ),
}
"""Guests that fail, and the statuses of their responses."""
BLOCKS = {
    b"status: 404\n\nnot here": (404, b"not here"),
    b"status: 204\n\nignored": (204, b""),
    b"status: 304\n\nignored": (304, b""),
    b"status: 205\n\nignored": (205, b""),
    b"location: http://a.example/\n\n": (302, b""),
    b"content-type: text/plain\r\ncontent-length: 2\r\n\r\n123456": (200, b"123456"),
    b"content-type: text/plain\ncontent-length: 20\n\n123": (200, b"123"),
    b"content-type: text/plain\n\n": (200, b""),
}
"""The output of guests, and the status and body of their responses."""
STREAM = guests.sleeps(1_500_000_000, guests.CONTENT_TYPE + b"begun ", b"ended")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """A server with a guest for each of FAILURES and BLOCKS, and with those of the samples."""
    directory = tmp_path_factory.mktemp("site")
    config = module("/env/...", ENV, 'environment = { MODE = "test" }') + module("/echo", ECHO)
    texts = {"stream": STREAM} | {f"block-{number}": guests.says(block) for number, block in enumerate(BLOCKS)}
    config += "".join(module(f"/{name}", f"{name}.wat") for name in texts)
    for number, (wat, _) in enumerate(FAILURES.values()):
        texts[f"secret-name-{number}"] = wat
        config += module(f"/secret-route-{number}", f"secret-name-{number}.wat", 'limits = { time = "300ms" }')
    for name, wat in texts.items():
        (directory / f"{name}.wat").write_text(wat)
    with running(directory, '[server]\nhead_time = "500ms"\n' + config, cache=cache) as server:
        yield server


@pytest.mark.parametrize("name", FAILURES)
def test_failures(site: Server, name: str) -> None:
    route, status = f"/secret-route-{list(FAILURES).index(name)}", FAILURES[name][1]
    with site.client.stream("GET", site.url + route) as response:
        assert response.status_code == status
        if status == 200:
            with pytest.raises(httpx.RemoteProtocolError):
                response.read()
            return
        body = response.read().decode()
    for inside in ("secret-name", "wasm", "hi", "/"):
        assert inside not in body
    site.wait_for_log(rf"{status}: .* route={route} id=[0-9a-f]+")


@pytest.mark.parametrize("block", BLOCKS)
def test_responses(site: Server, block: bytes) -> None:
    url = f"{site.url}/block-{list(BLOCKS).index(block)}"
    for _ in range(2):  # the connection is in order afterwards
        response = site.client.get(url, follow_redirects=False)
        assert (response.status_code, response.content) == BLOCKS[block]


def test_cookies_are_kept_apart(serve: Serve) -> None:
    server = serve(module("/r", "r.wat"), r=guests.says(b"set-cookie: a=1\nset-cookie: b=2\nstatus: 200\n\n"))
    assert server.get("/r").headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_head(hello_server: Server) -> None:
    for _ in range(2):
        # On a busy machine the guest may be slow, and its output streamed.
        while "content-length" not in (response := hello_server.client.head(hello_server.url + "/hello")).headers:
            pass
        assert (response.content, response.headers["content-length"]) == (b"", "12")


def test_http_1_0(hello_server: Server) -> None:
    answer = hello_server.exchange(b"GET /hello HTTP/1.0\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"hello world\n"
    assert b"content-length: 12" in head
    assert b"transfer-encoding" not in head


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /hello/../../x HTTP/1.1\r\nHost: h", b"400"),
        (b"GET /hello/%00 HTTP/1.1\r\nHost: h", b"400"),
        (b"GET /hello/%ff HTTP/1.1\r\nHost: h", b"400"),
        (b"GET /hello HTTP/1.1\r\nHost: a b", b"400"),
        (b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b", b"400"),
        (b"GET /hello HTTP/1.1", b"400"),
        (b"GET /hello?" + b"a" * 9000 + b" HTTP/1.1\r\nHost: h", b"414"),
        (b"GET /hello HTTP/1.1\r\nHost: h\r\nX-Big: " + b"a" * 66000, b"431"),
        (b"GET /hello HTTP/1.1\r\nHost: h\r\nX-Big: " + b"a" * 300_000, b"431"),
        (b"POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999", b"413"),
    ],
)
def test_requests_no_guest_sees(hello_server: Server, request_line: bytes, status: bytes) -> None:
    answer = hello_server.exchange(request_line + b"\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] == status


def test_environment(site: Server) -> None:
    headers = {"X-Key": "1", "Proxy": "evil", "X_Key": "2", "Authorization": "Basic dTpw"}
    lines = site.get("/env/a%20b?x=1&y", headers=headers).text.splitlines()
    assert lines[:3] == ["/env/a%20b", "x=1", "y"]
    for line in ("MODE=test", "PATH_INFO=/a b", "SCRIPT_NAME=/env", "HTTP_X_KEY=1", "REMOTE_ADDR=127.0.0.1"):
        assert line in lines
    assert not [line for line in lines if "evil" in line or "dTpw" in line or line.startswith(("PATH=", "HOME="))]


def test_the_request_id_is_the_same_everywhere(site: Server) -> None:
    response = site.get("/env", headers={"X-Request-Id": "theirs"})
    made = response.headers["x-request-id"]
    assert f"X_REQUEST_ID={made}" in response.text.splitlines()
    site.wait_for_log(f"GET /env .* id={made}")


@pytest.mark.parametrize("size", [0, 1, 65536, 3 * 2**20])
@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_echo(site: Server, size: int, framing: str) -> None:
    body = bytes(number % 251 for number in range(size))
    content = body if framing == "content-length" else (body[start : start + 9999] for start in range(0, size, 9999))
    response = site.client.post(site.url + "/echo", content=content, headers={"content-type": "a/b"})
    assert response.content == body
    assert response.headers["content-type"] == "a/b"


def test_a_body_that_is_too_large(hello_server: Server) -> None:
    for _ in range(2):
        response = hello_server.post("/hello", b"x" * (17 * 2**20))
        body = "Content Too Large: the request body may have at most 16777216 bytes"
        assert (response.status_code, response.reason_phrase) == (413, "Content Too Large")
        assert response.text == error_body(body, response.headers["x-request-id"])


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
@pytest.mark.parametrize(("path", "status"), [("/hello", 413), ("/nothing", 404)])
def test_a_client_sees_why_its_body_is_refused(hello_server: Server, path: str, status: int, connection: str) -> None:
    for _ in range(3):
        client = http.client.HTTPConnection(*hello_server.address, timeout=10)
        client.request("POST", path, b"x" * (20 * 2**20), {"Connection": connection})
        assert client.getresponse().status == status
        client.close()


@pytest.mark.parametrize(
    "request_head",
    [
        b"POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: " + b"0" * 5000 + b"3",
        b"GET /hello",
        b"GET /hello HTTP/2.0\r\nHost: h",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\nHost: b",
        b"GET /nothing HTTP/1.1\r\nHost: a\r\nHost: b",
        b"GET /hello#a?b HTTP/1.1\r\nHost: h",
    ],
    ids=["long length", "HTTP/0.9", "HTTP/2.0", "options", "no route", "fragment"],
)
def test_requests_that_break_http(hello_server: Server, request_head: bytes) -> None:
    assert hello_server.exchange(request_head + b"\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("target", [b"/hello", b"http://h/hello", b"h:80"])
def test_connect_is_not_answered(hello_server: Server, target: bytes) -> None:
    answer = hello_server.exchange(b"CONNECT " + target + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert answer[:12] in (b"HTTP/1.1 405", b"HTTP/1.1 400")
    assert b"hello world" not in answer


def test_an_absolute_target_without_a_path(hello_server: Server) -> None:
    answer = hello_server.exchange(b"GET http://h?x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    "stray", [b"\r\n", b"GET /x HT", b"\x00garbage\r\n\r\n"], ids=["CRLF", "half a head", "garbage"]
)
def test_what_comes_during_an_answer_does_not_spoil_it(site: Server, stray: bytes) -> None:
    with site.connect() as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = connection.recv(4096)
        connection.sendall(stray)
        while data := connection.recv(4096):
            answer += data
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b"6\r\nbegun \r\n5\r\nended\r\n0\r\n\r\n")


def test_a_guest_that_fails_after_a_local_redirect_is_logged(serve: Serve) -> None:
    config = module("/r", "r.wat") + module("/x", "x.wat")
    server = serve(config, r=guests.exits(3, b"location: /x\n\n"), x=guests.HELLO)
    assert server.get("/r").text == "hello world\n"
    server.wait_for_log("WARNING the guest exited with code 3 route=/r ")


def test_withheld_fields_are_named_at_level_debug(serve: Serve) -> None:
    server = serve('[log]\nlevel = "debug"\n' + module("/r", "r.wat"), r=guests.HELLO)
    server.get("/r", headers={"X_Odd": "1", "Proxy": "2"})
    server.wait_for_log("DEBUG .*withheld from the guest: .*x_odd, proxy")


def test_a_pipelined_request_ends_the_connection(hello_server: Server) -> None:
    request = b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"
    answer = hello_server.exchange(request * 3)
    assert answer.count(b"hello world\n") == 1
    assert b"connection: close" in answer


def test_an_upgrade_is_ignored(hello_server: Server) -> None:
    response = hello_server.get("/hello", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
    assert response.status_code == 200
    assert "uvicorn" not in hello_server.log


def test_trailers_are_not_variables(site: Server) -> None:
    answer = site.exchange(
        b"POST /env HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\nX-Trailer: evil\r\n\r\n"
    )
    assert b"CONTENT_LENGTH=3" in answer
    assert b"evil" not in answer


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reverse_proxy_that_is_not_named_is_warned_of_once(serve: Serve, workers: int) -> None:
    server = serve(f"[server]\nworkers = {workers}\n" + guest("/hello", "hello"), hello=guests.HELLO)
    for _ in range(40):
        httpx.get(server.url + "/hello", headers={"x-forwarded-for": "192.0.2.1"}, trust_env=False)
    wait_until(lambda: server.log.count("GET /hello") == 40)
    server.wait_for_log(r'X-Forwarded-For from 127\.0\.0\.1 is ignored; .*\["127\.0\.0\.1"\]')
    assert server.log.count("is ignored") == 1
