"""The `run` command: one request to one module, without a server, through the gateway."""

from __future__ import annotations

import asyncio
import http
import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from ..config.file import ConfigFile, config_from_tables, read_toml
from ..config.reader import Overrides
from ..errors import Problem, StartupError
from ..gateway.gateway import Gateway
from ..site.site import Site

_Message = MutableMapping[str, Any]
"""An ASGI message."""
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*:[ \t]*(.*)")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The request and module of a command line."""

    module: str
    path: str
    query: str
    method: str
    headers: tuple[str, ...]
    body: bytes
    environment: dict[str, str]
    volumes: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    entrypoint: str
    argv: str | None

    def config_file(self, overrides: Overrides, settings: Path | None = None) -> ConfigFile:
        """The configuration with this one module. Raises StartupError."""
        module: dict[str, object] = {"route": "/...", "module": self.module, "entrypoint": self.entrypoint}
        module["volumes"] = dict(_volume(text) for text in self.volumes)
        module["environment"] = self.environment
        module["allowed_hosts"] = list(self.allowed_hosts)
        if self.argv is not None:
            module["argv"] = self.argv
        tables = read_toml(settings) if settings else {}
        tables |= {"module": [module], "server": {"concurrency": 1}, "log": {"access": False}}
        return config_from_tables(settings or Path("command line"), tables, overrides)

    def scope(self) -> dict[str, object]:
        """The ASGI scope of the request. Raises StartupError for an invalid method or header field."""
        headers = [_header(number, text) for number, text in enumerate(self.headers, start=1)]
        if not _TOKEN.fullmatch(self.method):
            raise StartupError(Problem("--method", f'"{self.method}": write a method such as GET'))
        names = {name for name, _ in headers}
        if b"host" not in names:
            headers.insert(0, (b"host", b"localhost"))
        if self.body and b"content-length" not in names:
            headers.append((b"content-length", b"%d" % len(self.body)))
        path = self.path if self.path.startswith("/") else f"/{self.path}"
        return {
            "type": "http",
            "method": self.method,
            "path": path,
            "raw_path": quote(path, safe="/%!$&'()*+,;=:@~-._").encode(),
            "query_string": quote(self.query, safe="/%!$&'()*+,;=:@~-._?").encode(),
            "http_version": "1.1",
            "scheme": "http",
            "headers": headers,
            "client": ("127.0.0.1", 0),
            "server": ("localhost", 80),
        }


def load_once(
    request: RunRequest, overrides: Overrides, load: Callable[[ConfigFile], Site], settings: Path | None = None
) -> Site:
    """Loads the site of the one module. Raises StartupError, which names options of the command line."""
    try:
        site = load(request.config_file(overrides, settings))
    except StartupError as error:
        problems = [
            # The file's place means nothing to a command without a file; the name of an option does.
            Problem(problem.where if problem.where.startswith("--") else "", _as_option(problem.what))
            for problem in error.problems
        ]
        raise StartupError(*problems, warnings=error.warnings) from None
    if not any(pattern.text == "/..." for pattern, _ in site.routes):
        raise StartupError(Problem("--entrypoint", f'"{request.entrypoint}": there is no such export'))
    return replace(site, warnings=[Problem("", warning.what) for warning in site.warnings])


def run_once(site: Site, request: RunRequest, output: IO[bytes]) -> int:
    """Writes the response, head and body, to `output`, and closes the site. Returns the status."""
    return asyncio.run(_run_once(site, request, output))


async def _run_once(site: Site, request: RunRequest, output: IO[bytes]) -> int:
    statuses = []
    sent = iter([{"type": "http.request", "body": request.body, "more_body": False}])

    async def receive() -> _Message:
        message = next(sent, None)
        if message is None:
            await asyncio.Event().wait()  # no disconnect
        return message or {}

    async def send(message: _Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
            output.write(_head(message))
        else:
            output.write(message["body"])
        output.flush()

    async with Gateway(site) as gateway:
        await gateway(request.scope(), receive, send)
    return int(statuses[0])


def _head(message: _Message) -> bytes:
    status = http.HTTPStatus(message["status"]) if message["status"] in set(http.HTTPStatus) else None
    line = f"HTTP/1.1 {message['status']} {status.phrase if status else ''}".rstrip()
    fields = b"".join(b"%s: %s\r\n" % field for field in message["headers"])
    return line.encode() + b"\r\n" + fields + b"\r\n"


def _as_option(what: str) -> str:
    """A problem's text with the option of the command line in the place of the key of modules.toml."""
    what = re.sub("^allowed_hosts = ", "--allow-host ", what.removeprefix("module = "))
    what = re.sub(r'^volumes\."(.*?)" = "(.*?)": ', r"--volume \1=\2: ", what)
    return what.replace("set read_only = true", "write GUEST=HOST:ro")


def _header(number: int, text: str) -> tuple[bytes, bytes]:
    match = _HEADER.fullmatch(text)
    if not match:  # the text may be that of Authorization, and is not shown
        raise StartupError(Problem(f"--header (number {number})", 'write "Name: value"'))
    return match[1].lower().encode(), match[2].strip().encode()


def _volume(text: str) -> tuple[str, object]:
    guest, equals, host = text.partition("=")
    if not equals or not guest or not host:
        raise StartupError(Problem("--volume", f'"{text}": write GUEST=HOST or GUEST=HOST:ro'))
    return guest, {"path": host.removesuffix(":ro"), "read_only": host.endswith(":ro")}
