"""A real nginx in front of the gateway, without privileges and with all its files in one directory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.nginx_conf import nginx_conf
from tests.conftest import wait_until

Address = tuple[str, int]

# The configuration of docs/behind-a-proxy.md: nginx replaces all of a client's forwarding fields.
_HTTP = """
  access_log off;
  client_max_body_size 64m;
  upstream gateway {{ server {gateway}; keepalive 4; }}
{servers}
"""
_SERVER = """
  server {{
    listen {host}:{port};
    location / {{
      proxy_pass http://gateway;
      proxy_http_version {version};
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header Proxy "";
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto {scheme};
      proxy_set_header X-Forwarded-Port {public_port};
    }}
    location /internal/ {{ internal; alias {directory}/internal/; }}
  }}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx and its addresses."""

    plain: Address
    """The address for clients without TLS."""
    secure: Address
    """An address whose requests nginx forwards as `https` and port 8443, as if nginx had ended TLS."""
    old: Address
    """An address whose requests nginx forwards in HTTP/1.0, its default."""


def nginx_command() -> str:
    """The path of nginx; its absence fails the test rather than skipping it."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if not found:
        pytest.fail("nginx is not installed: install the Debian package nginx-light (or nginx)", pytrace=False)
    return found


def free_addresses(count: int) -> list[Address]:
    """Addresses with free ports, all different, for servers that do not take port 0."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [("127.0.0.1", int(probe.getsockname()[1])) for probe in probes]


@contextmanager
def running_nginx(directory: Path, http: str, *addresses: Address) -> Iterator[None]:
    """Runs nginx in the foreground, with these directives in `http`, until the context ends."""
    config, stderr_path = directory / "nginx.conf", directory / "stderr"
    config.write_text(nginx_conf(directory, http, error_log=f"{directory}/error.log warn"))
    with stderr_path.open("w") as stderr:
        process = subprocess.Popen([nginx_command(), "-p", str(directory), "-c", str(config)], stderr=stderr)
    try:
        wait_until(lambda: process.poll() is not None or all(map(accepts, addresses)), message=stderr_path.read_text)
        assert process.poll() is None, stderr_path.read_text()
        assert "[warn]" not in stderr_path.read_text()
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@contextmanager
def nginx_before(gateway: Address, directory: Path) -> Iterator[Nginx]:
    """nginx in front of a gateway, configured as in docs/behind-a-proxy.md."""
    nginx = Nginx(*free_addresses(3))
    (directory / "internal").mkdir()
    (directory / "internal" / "secret").write_text("only nginx may say so\n")
    listeners = [
        (nginx.plain, "$scheme", "$server_port", "1.1"),
        (nginx.secure, "https", "8443", "1.1"),
        (nginx.old, "$scheme", "$server_port", "1.0"),
    ]
    servers = [
        _SERVER.format(
            host=host, port=port, scheme=scheme, public_port=public_port, version=version, directory=directory
        )
        for (host, port), scheme, public_port, version in listeners
    ]
    http = _HTTP.format(gateway=f"{gateway[0]}:{gateway[1]}", servers="".join(servers))
    with running_nginx(directory, http, nginx.plain, nginx.secure, nginx.old):
        yield nginx


def accepts(address: Address) -> bool:
    """Whether a server listens on the address."""
    try:
        socket.create_connection(address, 1).close()
    except OSError:
        return False
    return True
