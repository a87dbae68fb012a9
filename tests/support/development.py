"""The recording gateway in this process, and `wagi-gateway dev` in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.conftest import START, wait_until
from tests.support.asgi import Client
from wagi_gateway.config.file import read_config
from wagi_gateway.dev.builds import Builds
from wagi_gateway.dev.error_page import ErrorPages
from wagi_gateway.dev.history import History
from wagi_gateway.dev.live import LiveReload
from wagi_gateway.dev.recorder import RecordingGateway
from wagi_gateway.dev.recording import Recording
from wagi_gateway.site.load import load

INSPECTOR = re.compile(r"inspector +(http://\S+)/#token=(\S+)")
STARTED = re.compile("Ctrl-C stops|q quit")
SITE = re.compile(r"site +(http://\S+)")


@dataclass(slots=True)
class Recorded:
    """A recording gateway and its client."""

    gateway: RecordingGateway
    client: Client
    changes: list[tuple[int, bool]] = field(default_factory=list)
    """Number of each recording that changed, and whether it was over."""

    @property
    def last(self) -> Recording:
        """The latest recording."""
        return list(self.gateway.history)[-1]


@asynccontextmanager
async def recorded(directory: Path, config: str, **wat: str) -> AsyncIterator[Recorded]:
    """A started gateway for a modules.toml with this text and modules of these names."""
    for name, text in wat.items():
        (directory / f"{name}.wat").write_text(text)
    (directory / "modules.toml").write_text(config)
    changes: list[tuple[int, bool]] = []
    builds = Builds(lambda _route, _data: None)
    live = LiveReload()
    pages = ErrorPages(directory, "http://127.0.0.1:3001", builds, live)
    site = load(read_config(directory / "modules.toml"))
    on_change = lambda one: changes.append((one.number, one.is_over))  # noqa: E731
    gateway = RecordingGateway(site, History(), pages, builds, on_change, live)
    async with gateway:
        yield Recorded(gateway, Client(gateway), changes)


@dataclass(slots=True)
class Development:
    """A running `wagi-gateway dev`."""

    process: subprocess.Popen[str]
    site: str
    inspector: str
    token: str
    lines: list[str]
    """The lines of the terminal so far."""
    client: httpx.Client

    def api(self, path: str, method: str = "GET", **options: object) -> httpx.Response:
        """A call of the inspector's API with the token."""
        headers = {"x-inspector-token": self.token, **(options.pop("headers", {}))}  # type: ignore[dict-item]
        return self.client.request(method, f"{self.inspector}/api/{path}", headers=headers, **options)  # type: ignore[arg-type]

    def get(self, path: str, **options: object) -> httpx.Response:
        """A GET of the site."""
        return self.client.get(self.site + path, **options)  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        """What the terminal shows."""
        return "".join(self.lines)

    def wait_for(self, pattern: str) -> None:
        """Waits until a line matches."""
        wait_until(lambda: re.search(pattern, self.text) is not None, message=lambda: f"{pattern!r}:\n{self.text}")


@contextmanager
def developing(
    directory: Path, *arguments: str, cache: Path, terminal: str = "", **environment: str
) -> Iterator[Development]:
    """`wagi-gateway dev` for the modules.toml of a directory; its keys come from a `terminal`, a descriptor."""
    command = [sys.executable, "-m", "wagi_gateway", "dev", "--listen", "127.0.0.1:0", "--inspector", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*(["setsid", "--ctty"] if terminal else []), *command, "--cache-dir", str(cache), *arguments],
        cwd=directory,
        env=os.environ | environment,
        stdin=int(terminal) if terminal else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=not terminal,
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stderr.readline, "")))  # type: ignore[union-attr]
    reader.start()
    try:
        wait_until(
            lambda: bool(STARTED.search("".join(lines))) or process.poll() is not None, START, lambda: "".join(lines)
        )
        text = "".join(lines)
        found, site = INSPECTOR.search(text), SITE.search(text)
        assert found, text
        assert site, text
        with httpx.Client(trust_env=False, timeout=30) as client:
            yield Development(process, site[1], found[1], found[2], lines, client)
    finally:
        process.terminate()
        process.wait(20)
        reader.join()
        if process.stderr:
            process.stderr.close()
