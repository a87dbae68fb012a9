"""A real nginx with a file of deploy/nginx, in which only addresses and paths are replaced."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.conftest import ROOT
from tests.support.nginx import free_addresses, running_nginx

_DEPLOY = ROOT / "deploy" / "nginx"
_HTTP = """
  log_format seen '$remote_addr "$upstream_status" "$upstream_http_x_request_id"';
  access_log {directory}/access.log seen;
  include conf.d/*.conf;
"""


@dataclass(frozen=True, slots=True)
class Front:
    """A running nginx."""

    address: tuple[str, int]
    """The address for HTTP."""
    secure: tuple[str, int] | None
    """The address for TLS."""
    authority: trustme.CA | None
    log: Path


@contextmanager
def front(name: str, directory: Path, gateway: str) -> Iterator[Front]:
    """nginx with a published file in front of a gateway at this address; all its files are in `directory`."""
    authority = None
    shutil.copytree(_DEPLOY / "snippets", directory / "snippets")
    (directory / "conf.d").mkdir()
    (_, port), (_, secure) = free_addresses(2)
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
    with running_nginx(directory, _HTTP.format(directory=directory), ("127.0.0.1", port)):
        encrypted = ("127.0.0.1", secure) if authority else None
        yield Front(("127.0.0.1", port), encrypted, authority, directory / "error.log")


def _configuration(name: str, changes: dict[str, str]) -> str:
    """A published file with other addresses and paths; fails unless each occurs exactly once."""
    text = (_DEPLOY / "conf.d" / name).read_text()
    for published, own in changes.items():
        assert text.count(published) == 1, published
        text = text.replace(published, own)
    return text
