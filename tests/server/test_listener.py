"""Listening sockets: TCP, UNIX, inherited ones, and addresses that cannot be bound."""

from __future__ import annotations

import errno
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import running
from tests.support.config import config, module
from tests.support.env_guest import ENV, Seen, seen
from tests.support.http_client import message, read_answer
from wagi_gateway.config.settings import AdminConfig
from wagi_gateway.config.settings import ServerConfig as Settings
from wagi_gateway.errors import StartupError
from wagi_gateway.server.listener import _advice, listening, listening_to_admin, url


def write(directory: Path, **settings: object) -> Path:
    (directory / "env.wat").write_text(ENV)
    path = directory / "modules.toml"
    path.write_text(config(module("/...", "env.wat"), server=settings))
    return path


def client(path: Path) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://h", timeout=20)


def ask(path: Path, request: bytes) -> bytes:
    """Sends raw bytes; returns all bytes until the connection is closed."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def variables(answer: bytes) -> Seen:
    return read_answer(answer).seen


def test_a_unix_socket(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "wagi.sock"
    with running(tmp_path, write(tmp_path), "--uds", str(path), cache=cache, listen=None) as server:
        assert server.url == f"http://unix:{path}"
        assert f"http://unix:{path}:/ (and below) -> env.wat (_start)" in server.stdout
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with client(path) as connection:
            for _ in range(3):
                given = seen(connection.get("/a?b").content)
        assert (given["REMOTE_ADDR"], given["REMOTE_PORT"], given["SERVER_PORT"]) == (b"127.0.0.1", None, b"80")
        server.wait_for_log(r"client=- ")
        curl = [
            "curl",
            "-sS",
            "-o",
            str(tmp_path / "got"),
            "-w",
            "%{http_code}",
            "--unix-socket",
            str(path),
            "http://h/healthz",
        ]
        assert subprocess.run(curl, stdout=subprocess.PIPE, check=True).stdout == b"200"
    assert not path.exists()


def test_the_path_of_the_socket_is_in_no_response(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "wagi.sock"
    with running(tmp_path, write(tmp_path, listen="unix:wagi.sock"), cache=cache, listen=None):
        given = variables(ask(path, message("GET / HTTP/1.0")))
    assert (given["SERVER_NAME"], given["SERVER_PORT"], given["X_FULL_URL"]) == (
        b"localhost",
        b"80",
        b"http://localhost:80/",
    )
    assert not [name for name, value in given.environ.items() if b"wagi.sock" in value]


def test_workers_share_a_unix_socket(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "wagi.sock"
    config = write(tmp_path, listen="unix:wagi.sock", socket_mode="600", workers=2)
    with running(tmp_path, config, cache=cache, listen=None) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with client(path) as connection:
            assert connection.get("/").status_code == 200
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("all workers are replaced|reloaded", timeout=30)
        with client(path) as connection:  # the end of a worker does not remove the socket
            assert connection.get("/").status_code == 200
    assert not path.exists()


FORWARDED = ("Host: h", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "X-Forwarded-Port: 8443")


@pytest.mark.parametrize(
    ("trusted", "client", "https", "port"),
    [
        (["unix"], b"192.0.2.7", b"on", b"8443"),
        (["unix", "192.0.2.0/24"], b"192.0.2.7", b"on", b"8443"),
        (["127.0.0.0/8"], b"127.0.0.1", None, b"80"),
        ([], b"127.0.0.1", None, b"80"),
    ],
)
def test_trusted_proxies(
    tmp_path: Path, cache: Path, trusted: list[str], client: bytes, https: bytes | None, port: bytes
) -> None:
    path = tmp_path / "wagi.sock"
    config = write(tmp_path, listen="unix:wagi.sock", trusted_proxies=trusted)
    with running(tmp_path, config, cache=cache, listen=None):
        given = variables(ask(path, message("GET / HTTP/1.1", *FORWARDED, "Connection: close")))
    assert (given["REMOTE_ADDR"], given["HTTPS"], given["SERVER_PORT"]) == (client, https, port)


def test_unix_does_not_trust_a_peer_of_tcp(tmp_path: Path, cache: Path) -> None:
    with running(tmp_path, write(tmp_path, trusted_proxies=["unix"]), cache=cache) as server:
        given = variables(server.exchange(message("GET / HTTP/1.1", *FORWARDED, "Connection: close")))
    assert (given["REMOTE_ADDR"], given["HTTPS"]) == (b"127.0.0.1", None)


def settings(path: Path) -> Settings:
    return Settings(listen=f"unix:{path}")


def test_a_socket_without_a_listener_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    assert path.is_socket()
    with listening(settings(path), tmp_path) as listener, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        listener.accept()[0].close()
    assert not path.exists()


def test_a_socket_somebody_listens_on_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listening(settings(path), tmp_path):
        with pytest.raises(StartupError, match=f"cannot serve on unix:{path}: another server listens there"):
            listening(settings(path), tmp_path).__enter__()
        assert path.is_socket()


def test_nothing_but_a_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(StartupError, match="something else than a socket"):
        listening(settings(path), tmp_path).__enter__()
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("listen", "reason"),
    [
        ("unix:gone/s", "No such file or directory"),
        (f"unix:{'x' * 200}", "path too long"),
        ("fd:999", "descriptor 999 is no socket; it is opened by the .socket unit"),
        ("no-such-host.invalid:1", "no-such-host.invalid is no address of this host"),
    ],
)
def test_addresses_that_cannot_be_bound(tmp_path: Path, listen: str, reason: str) -> None:
    with pytest.raises(StartupError, match=reason) as error:
        listening(Settings(listen=listen), tmp_path).__enter__()
    assert str(error.value).startswith(f"server.listen: cannot serve on {listen}: ")


def test_a_socket_that_replaced_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listening(settings(path), tmp_path) as first:
        first.close()  # like a server that finishes its requests
        second = listening(settings(path), tmp_path)
        second.__enter__()
    assert path.is_socket()
    second.__exit__(None, None, None)
    assert not path.exists()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
def test_a_socket_that_was_handed_over(tmp_path: Path, cache: Path, family: socket.AddressFamily) -> None:
    path = tmp_path / "s"
    with socket.socket(family) as handed:
        handed.bind(str(path) if family == socket.AF_UNIX else ("127.0.0.1", 0))
        handed.listen()
        at, address = url(handed), handed.getsockname()
        environment = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "wagi"}
        descriptor = handed.fileno()
        with running(
            tmp_path,
            write(tmp_path),
            cache=cache,
            listen=f"fd:{descriptor}",
            pass_fds=(descriptor,),
            environment=environment,
        ) as server:
            assert server.url == at
            with socket.socket(family) as connection:
                connection.connect(address)
                connection.sendall(message("GET / HTTP/1.1", "Host: h", "Connection: close"))
                given = variables(b"".join(iter(lambda: connection.recv(65536), b"")))
            assert given["REMOTE_ADDR"] == b"127.0.0.1"
        # The socket belongs to systemd: the next client waits for the next start.
        with socket.socket(family) as connection:
            connection.connect(address)
        assert family != socket.AF_UNIX or path.is_socket()


def test_an_inherited_socket_must_listen(tmp_path: Path) -> None:
    with socket.socket() as connected, pytest.raises(StartupError, match="is no listening socket"):
        listening(Settings(listen=f"fd:{connected.fileno()}"), tmp_path).__enter__()


def test_uds_and_listen_exclude_each_other(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wagi_gateway", "serve", str(write(tmp_path)), "--uds", "a", "--listen", ":1"]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (3, "error: --uds: says what --listen says; give one of them\n")


def test_an_admin_client_that_does_not_read_is_dropped(tmp_path: Path) -> None:
    with listening_to_admin(AdminConfig(listen="127.0.0.1:0"), tmp_path) as listener:
        assert listener
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000


@pytest.mark.parametrize(
    ("listen", "number", "what"),
    [
        ("127.0.0.1:80", errno.EACCES, "CAP_NET_BIND_SERVICE.*--listen"),
        ("[::1]:1023", errno.EACCES, "CAP_NET_BIND_SERVICE.*--listen"),
        ("127.0.0.1:1024", errno.EACCES, "choose another address"),
        ("127.0.0.1:80", errno.EADDRINUSE, "choose another address"),
        ("unix:s", errno.EACCES, "choose another address"),
    ],
    ids=str,
)
def test_the_advice_about_an_address_that_cannot_be_bound(listen: str, number: int, what: str) -> None:
    assert re.match(f".*{what}", _advice(OSError(number, ""), listen, "--listen"))
