"""The files of deploy/nginx, with other addresses and paths, in a real nginx in front of a gateway."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import wait_until
from tests.support.env_guest import seen
from tests.support.http_client import connected, message
from tests.support.registry import installed
from tests.system.deploy.site import CLIENT, Site, serving


@pytest.fixture(scope="module", params=["wagi-gateway.conf", "wagi-gateway-unix.conf"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Site]:
    """nginx and a gateway over TCP, and over a UNIX socket."""
    with serving(request.param, tmp_path_factory.mktemp("nginx"), cache) as running_site:
        yield running_site


@pytest.fixture(scope="module")
def tls_site(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Site]:
    """nginx with TLS."""
    with serving("wagi-gateway-tls.conf", tmp_path_factory.mktemp("nginx"), cache) as running_site:
        yield running_site


SPOOFED = (
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Port: 1",
    "X-Forwarded-Host: evil.example",
    "Forwarded: for=6.6.6.6;host=evil.example",
    "X_Forwarded_For: 6.6.6.6",
    "Proxy: http://evil.example/",
)


def test_what_a_guest_sees(site: Site) -> None:
    port = site.address[1]
    given = site.ask(message("GET /a%20b/c?d HTTP/1.1", f"Host: a.example:{port}", *SPOOFED)).seen
    expected = {
        "REMOTE_ADDR": CLIENT.encode(),
        "HTTPS": None,
        "REQUEST_SCHEME": b"http",
        "SERVER_NAME": b"a.example",
        "SERVER_PORT": b"%d" % port,
        "HTTP_HOST": b"a.example:%d" % port,
        "X_FULL_URL": b"http://a.example:%d/a%%20b/c?d" % port,
        "REQUEST_URI": b"/a%20b/c?d",
        "SERVER_PROTOCOL": b"HTTP/1.1",
        "HTTP_X_FORWARDED_FOR": CLIENT.encode(),
        "HTTP_X_FORWARDED_HOST": None,
        "HTTP_FORWARDED": None,
        "HTTP_PROXY": None,
    }
    assert {name: given[name] for name in expected} == expected
    assert not [name for name, value in given.environ.items() if b"evil" in value or b"6.6.6.6" in value]


def test_a_client_of_http_1_0(site: Site) -> None:
    with connected(site.address, CLIENT) as connection:
        given = connection.ask(message("GET / HTTP/1.0")).seen
    assert (given["SERVER_PROTOCOL"], given["REMOTE_ADDR"]) == (b"HTTP/1.1", CLIENT.encode())


def test_what_a_guest_sees_behind_tls(tls_site: Site, tmp_path: Path) -> None:
    assert tls_site.authority
    assert tls_site.secure
    tls_site.authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    port = tls_site.secure[1]
    for option, protocol in (("--http1.1", b"1.1"), ("--http2", b"2")):
        command = [
            *("curl", "-sS", option, "--interface", CLIENT, "--cacert", str(tmp_path / "ca.pem")),
            *("--resolve", f"wagi.example.com:{port}:127.0.0.1", "-o", str(tmp_path / "got"), "-w", "%{http_version}"),
            *(argument for field in SPOOFED for argument in ("-H", field)),
            f"https://wagi.example.com:{port}/x?y",
        ]
        assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == protocol
        given = seen((tmp_path / "got").read_bytes())
        expected = {
            "REMOTE_ADDR": CLIENT.encode(),
            "HTTPS": b"on",
            "SERVER_PORT": b"%d" % port,
            "X_FULL_URL": b"https://wagi.example.com:%d/x?y" % port,
        }
        assert {name: given[name] for name in expected} == expected


def test_plain_http_is_sent_to_https(tls_site: Site) -> None:
    answer = tls_site.ask(message("GET /a?b HTTP/1.1", "Host: wagi.example.com"))
    assert (answer.status, answer.value("location")) == (301, b"https://wagi.example.com/a?b")


def test_a_response_arrives_piece_by_piece(site: Site) -> None:
    begin = time.monotonic()
    with httpx.Client(trust_env=False) as client, client.stream("GET", f"{site.url}/pieces") as answer:
        pieces = [(piece, time.monotonic() - begin) for piece in answer.iter_raw()]
    assert b"".join(piece for piece, _ in pieces) == b"first second"
    assert pieces[0][0] == b"first "
    assert pieces[-1][1] - pieces[0][1] > 1


@pytest.mark.parametrize("size", [0, 1, 100_000, 16 * 2**20])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_bodies(site: Site, size: int, is_chunked: bool) -> None:
    body = bytes(number % 251 for number in range(1000)) * (size // 1000) + b"x" * (size % 1000)
    content = iter([body[: size // 2], body[size // 2 :]]) if is_chunked else body
    answer = httpx.post(site.url, content=content, trust_env=False, timeout=30)
    given = seen(answer.content)
    assert (given.stdin == body, given["CONTENT_LENGTH"]) == (True, b"%d" % size)


def test_a_body_that_is_too_large(site: Site) -> None:
    answer = httpx.post(site.url, content=b"x" * (16 * 2**20 + 1), trust_env=False, timeout=30)
    assert answer.status_code == 413


def test_a_client_that_leaves_ends_its_guest(site: Site) -> None:
    for _ in range(2):  # the second request needs the capacity of the first
        with connected(site.address, CLIENT) as connection:
            connection.send(message("GET /spin HTTP/1.1", "Host: h"))
            assert connection.socket.recv(100).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: site.gateway.log.count("GET /spin status=200") > 0 and not is_spinning(site))


def is_spinning(site: Site) -> bool:
    begun = len(re.findall(r"GET /spin ", site.gateway.log))
    with connected(site.address, CLIENT) as connection:
        connection.send(message("GET /spin HTTP/1.1", "Host: h"))
        status = connection.socket.recv(12)
    wait_until(lambda: len(re.findall(r"GET /spin ", site.gateway.log)) > begun)
    return status != b"HTTP/1.1 200"


def test_an_upload_that_is_aborted_starts_no_guest(site: Site) -> None:
    with connected(site.address, CLIENT) as connection:
        connection.send(message("POST /aborted HTTP/1.1", "Host: h", "Content-Length: 1000000", body=b"x" * 1000))
        site.ask(message("GET / HTTP/1.1", "Host: h"))  # the gateway has the request head now
        connection.send(b"y" * 100_000)
    line = site.gateway.wait_for_log(r".*POST /aborted status=(\d+).*")
    assert line[1] in ("400", "499")
    assert "guest_ms" not in line[0]


def test_upstream_connections_are_kept(site: Site) -> None:
    with httpx.Client(trust_env=False) as client:
        for _ in range(20):
            assert client.get(f"{site.url}/kept").status_code == 200
        before = upstream_ports(site)
        for _ in range(200):
            assert client.get(f"{site.url}/kept").status_code == 200
        assert upstream_ports(site) == before  # the same connections
        assert 0 < len(before) <= 32


def upstream_ports(site: Site) -> set[str]:
    """The client ports of the connections between nginx and the gateway."""
    gateway = site.gateway
    if gateway.url.startswith("http://unix:"):
        path = gateway.url.removeprefix("http://unix:")
        rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
        return {row[6] for row in rows if row[-1] == path and row[5] == "03"}
    port = f":{gateway.address[1]:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[2].endswith(port) and row[3] == "01"}


def test_a_connection_the_gateway_closes_costs_no_request(tmp_path: Path, cache: Path) -> None:
    serve = serving("wagi-gateway.conf", tmp_path, cache, keep_alive=1, keep_alive_requests=7)
    with serve as site, httpx.Client(trust_env=False) as client:
        for _ in range(100):
            assert client.get(site.url).status_code == 200
        for _ in range(3):
            assert client.get(site.url).status_code == 200
            wait_until(lambda: not upstream_ports(site))
            assert client.get(site.url).status_code == 200


def test_websockets_are_refused(site: Site) -> None:
    fields = (
        "Host: h",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    for value in ("websocket", "WebSocket", "h2c, websocket"):
        assert site.ask(message("GET /ws HTTP/1.1", *fields, f"Upgrade: {value}")).status == 400
    assert "/ws" not in site.gateway.log
    given = site.ask(message("GET /h2c HTTP/1.1", "Host: h", "Connection: Upgrade", "Upgrade: h2c")).seen
    assert given["HTTP_UPGRADE"] is None


def test_files_come_through(site: Site) -> None:
    answer = site.ask(message("GET /files/large HTTP/1.1", "Host: h", "Range: bytes=255-256"))
    assert (answer.status, answer.body) == (206, b"\xff\0")
    assert httpx.get(f"{site.url}/files/large", trust_env=False, timeout=30).content == bytes(range(256)) * 40_000


def test_the_largest_head_a_module_may_print(site: Site) -> None:
    answer = site.ask(message("GET /fields HTTP/1.1", "Host: h"))
    assert (answer.status, len(answer.value("x-a") or b"") > 65_000, answer.body) == (200, True, b"body")


def test_modules_give_nginx_no_orders(site: Site) -> None:
    assert site.ask(message("GET /accel HTTP/1.1", "Host: h")).body == b"its own"


def test_a_gateway_that_is_gone(tmp_path: Path, cache: Path) -> None:
    with serving("wagi-gateway.conf", tmp_path, cache) as site:
        assert site.ask(message("GET / HTTP/1.1", "Host: h")).status == 200
        site.gateway.process.send_signal(signal.SIGTERM)
        site.gateway.process.wait(20)
        assert site.ask(message("GET / HTTP/1.1", "Host: h")).status == 502


def test_a_client_has_its_share_of_connections(site: Site) -> None:
    statuses = []
    held = [connected(site.address, "127.0.0.8") for _ in range(101)]
    connections = [one.__enter__() for one in held]
    try:
        for connection in connections:
            connection.send(message("POST /held HTTP/1.1", "Host: h", "Content-Length: 10"))
        statuses.append(connections[-1].answer().status)
    finally:
        for one in held:
            one.__exit__(None, None, None)
    assert statuses == [429]
    assert site.ask(message("GET / HTTP/1.1", "Host: h")).status == 200


def test_a_browser_with_many_requests_over_one_connection_is_refused_none(tls_site: Site) -> None:
    """limit_conn counts each open stream of HTTP/2. nginx refuses streams over the limit of its SETTINGS, which the
    client has not received yet; browsers retry refused streams (RFC 9113 section 8.7)."""
    assert tls_site.secure
    h2load = installed("h2load", "nghttp2-client")
    url = f"https://127.0.0.1:{tls_site.secure[1]}/nap"
    done = subprocess.run([h2load, "-n128", "-c1", "-m128", url], capture_output=True, text=True, check=True)
    answered = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", done.stdout)
    assert answered, done.stdout
    assert int(answered[1]) >= 64
