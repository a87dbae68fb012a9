"""nginx with a file of deploy/nginx in front of a gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.conftest import Server, running
from tests.support import guests
from tests.support.config import config, guest
from tests.support.env_guest import CT, ENV
from tests.support.http_client import Answer, connected
from tests.system.deploy.front import front
from wagi_gateway.config.settings import Limits

CLIENT = "127.0.0.9"


MODULES = (
    guest("/...", "env"),
    guest("/pieces", "pieces"),
    guest("/nap", "nap", concurrency=128),
    guest("/spin", "spin", concurrency=1, queue=0),
    guest("/accel", "accel"),
    guest("/fields", "fields"),
)


GUESTS = {
    "env": ENV,
    "pieces": guests.sleeps(1_500_000_000, guests.CONTENT_TYPE + b"first ", b"second"),
    "nap": guests.sleeps(300_000_000, guests.CONTENT_TYPE, b"done"),
    "spin": guests.says(guests.CONTENT_TYPE + b"begun", repeat="nop"),
    "fields": guests.says(CT + b"X-A: " + b"a" * (Limits().header_block - len(CT) - 7) + b"\n\nbody"),
    "accel": guests.says(CT + b"X-Accel-Redirect: /files/large\n\nits own"),
}


@dataclass(frozen=True, slots=True)
class Site:
    """nginx and the gateway."""

    gateway: Server
    address: tuple[str, int]
    """nginx's address for HTTP."""
    secure: tuple[str, int] | None
    """nginx's address for TLS."""
    authority: trustme.CA | None
    log: Path
    """nginx's log."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}"

    def ask(self, request: bytes) -> Answer:
        """The response to a client at CLIENT."""
        with connected(self.address, CLIENT) as connection:
            return connection.ask(request)


@contextmanager
def serving(name: str, folder: Path, cache: Path, **settings: object) -> Iterator[Site]:
    """A gateway with the settings that the file needs, and nginx with the file in front."""
    (folder / "files").mkdir()
    (folder / "files" / "large").write_bytes(bytes(range(256)) * 40_000)
    for stem, wat in GUESTS.items():
        (folder / f"{stem}.wat").write_text(wat)
    is_unix = "unix" in name
    server = {"trusted_proxies": ["unix" if is_unix else "127.0.0.1"], **settings}
    text = config(*MODULES, server=server, static=[{"route": "/files/...", "directory": "files"}])
    listen = f"unix:{folder}/wagi.sock" if is_unix else "127.0.0.1:0"
    with running(folder, text, cache=cache, listen=listen) as gateway:
        directory = folder / "nginx"
        with front(name, directory, gateway.url.removeprefix("http://")) as nginx:
            yield Site(gateway, nginx.address, nginx.secure, nginx.authority, nginx.log)
