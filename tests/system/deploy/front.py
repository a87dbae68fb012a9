"""A real nginx with a file of deploy/nginx, in which nothing is changed but addresses and paths."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.conftest import ROOT, wait_until
from tests.support.nginx import nginx_command

_DEPLOY = ROOT / "deploy" / "nginx"
_MAIN = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
worker_processes 1;
{user}
events {{ worker_connections 1024; }}
http {{
  log_format seen '$remote_addr "$upstream_status" "$upstream_http_x_request_id"';
  access_log {directory}/access.log seen;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  include conf.d/*.conf;
}}
"""


@dataclass(frozen=True, slots=True)
class Front:
    """A running nginx."""

    address: tuple[str, int]
    """Where it speaks HTTP."""
    secure: tuple[str, int] | None
    """Where it speaks TLS."""
    authority: trustme.CA | None
    log: Path


@contextmanager
def front(name: str, directory: Path, gateway: str) -> Iterator[Front]:
    """nginx before a gateway at this address, as a published file says, with everything of its own in `directory`."""
    authority = None
    shutil.copytree(_DEPLOY / "snippets", directory / "snippets")
    (directory / "conf.d").mkdir()
    port, secure = _free_port(), _free_port()
    # Not every machine has IPv6: 127.0.0.2 stands for it.
    changes = {"listen 80 ": f"listen 127.0.0.1:{port} ", "listen [::]:80 ": f"listen 127.0.0.2:{port} "}
    published = "unix:/run/wagi-gateway.sock" if gateway.startswith("unix:") else "127.0.0.1:3000"
    changes[f"server {published}"] = f"server {gateway}"
    if "tls" in name:
        authority = trustme.CA()
        issued = authority.issue_cert("wagi.example.com")
        issued.private_key_pem.write_to_path(str(directory / "privkey.pem"))
        (directory / "fullchain.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        changes["listen 443 "] = f"listen 127.0.0.1:{secure} "
        changes["listen [::]:443 "] = f"listen 127.0.0.2:{secure} "
        changes["/etc/ssl/wagi/fullchain.pem"] = f"{directory}/fullchain.pem"
        changes["/etc/ssl/wagi/privkey.pem"] = f"{directory}/privkey.pem"
    (directory / "conf.d" / name).write_text(_configuration(name, changes))
    with _nginx(directory, port) as log:
        yield Front(("127.0.0.1", port), ("127.0.0.1", secure) if authority else None, authority, log)


def _configuration(name: str, changes: dict[str, str]) -> str:
    """A published file with other addresses and paths; each stands in it exactly once."""
    text = (_DEPLOY / "conf.d" / name).read_text()
    for published, own in changes.items():
        assert text.count(published) == 1, published
        text = text.replace(published, own)
    return text


@contextmanager
def _nginx(directory: Path, port: int) -> Iterator[Path]:
    """Runs it as a child in the foreground."""
    # Started by root, its workers would be another user's and not find their directories.
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(_MAIN.format(directory=directory, user=user))
    log = directory / "error.log"
    with (directory / "stderr").open("w") as stderr:
        command = [nginx_command(), "-p", str(directory), "-c", str(directory / "nginx.conf")]
        process = subprocess.Popen(command, stderr=stderr)
    try:
        wait_until(lambda: process.poll() is not None or _accepts(port), message=(directory / "stderr").read_text)
        assert process.poll() is None, (directory / "stderr").read_text()
        assert "[warn]" not in (directory / "stderr").read_text()
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
