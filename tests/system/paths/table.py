"""The table of docs/paths.md: what front servers and the gateway make of each target."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Server, running, wait_until
from tests.support.config import config, module
from tests.support.env_guest import ENV, seen
from tests.support.nginx import Address

from .fronts import FRONTS, Front, running_fronts, versions
from .targets import TARGETS, below_prefix

SECRET = b"only for those whom the front server lets through"
_CELL = 48
"""Longest target in the table, in characters."""
_INTRODUCTION = """# Paths behind a front server

`python -m tests.system.paths` writes this page, and `tests/system/paths` checks it against the real servers:
{versions}.

Each front server refuses what is below `/private/` and `/files/private/` and forwards the rest to a gateway with the
routes `/...`, `/private/...` and, for files, `/files/...` and `/private/files/...`. The column of the gateway has the
status or the route and `PATH_INFO` of a target that is sent to it directly. The columns of the front servers have the
status of a refusal, `=` for a target that arrived as it was sent, or the target that arrived, with the gateway's status
if that is not 200. Servers with `/app/` were sent the target below `/app`. No request that arrived was answered by a
route or file below the two prefixes; [Access rules in front](behind-a-proxy.md#access-rules-in-front) says what that
takes. The configurations are in `tests/system/paths/fronts.py`.

"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request."""

    status: int
    """0 for a connection that was closed without a response in HTTP/1."""
    target: str | None
    """The target that arrived at the gateway; None for a request that the front server answered."""
    route: str
    path_info: str
    is_below: bool
    """Whether a route or a file below the prefixes of the rules answered."""

    def cell(self, sent: bytes) -> str:
        """The cell of a front server."""
        if self.target is None:
            return str(self.status or "closed")
        status = "" if self.status == 200 else f" {self.status}"
        return ("=" if self.target == sent.decode("latin-1") else code(self.target)) + status

    def gateway_cell(self) -> str:
        """The cell of the gateway itself."""
        if self.status != 200:
            return str(self.status)
        return f"{code(self.route)} {code(self.path_info)}" if self.path_info else code(self.route)


def code(text: str) -> str:
    """Text as a code span without characters that end the span or the cell."""
    shown = "".join(f"\\x{ord(c):02x}" if not "!" <= c <= "~" or c in "`|\\" else c for c in text)
    return f"`{shown if len(shown) <= _CELL else shown[:_CELL] + '…'}`"


@contextmanager
def serving(directory: Path, cache: Path) -> Iterator[Server]:
    """A gateway with public and private routes and files."""
    for name in ("files/private", "private"):
        (directory / name).mkdir(parents=True)
        (directory / name / "secret.txt").write_bytes(SECRET)
    (directory / "files" / "public.txt").write_text("public")
    (directory / "env.wat").write_text(ENV)
    routes = [module(route, "env.wat") for route in ("/...", "/private/...")]
    static = [
        {"route": "/files/...", "directory": "files"},
        {"route": "/private/files/...", "directory": "private"},
    ]
    with running(directory, config(*routes, static=static, log={"format": "json"}), cache=cache) as server:
        yield server


def measure(server: Server, directory: Path, fronts: dict[str, Front] = FRONTS) -> dict[str, list[Outcome]]:
    """The outcomes of all TARGETS, by front server; `""` is the gateway itself."""
    with running_fronts(directory, server.address, fronts) as addresses, ThreadPoolExecutor(4) as threads:
        sending = {
            name: threads.submit(_ask_all, address, has_prefix=bool(name) and fronts[name].has_prefix)
            for name, address in {"": server.address, **addresses}.items()
        }
        answers = {name: each.result() for name, each in sending.items()}
    ids = {answer.request_id for each in answers.values() for answer in each if answer.request_id}
    wait_until(lambda: ids <= _logged(server).keys())
    log = _logged(server)
    return {name: [_outcome(answer, log) for answer in each] for name, each in answers.items()}


@dataclass(frozen=True, slots=True)
class _Answer:
    sent: bytes
    status: int
    request_id: str
    body: bytes


def _ask_all(address: Address, *, has_prefix: bool) -> list[_Answer]:
    return [_ask(address, below_prefix(target) if has_prefix else target) for target in TARGETS]


def _ask(address: Address, target: bytes) -> _Answer:
    with socket.create_connection(address, 30) as connection:
        connection.sendall(b"GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % target)
        response = http.client.HTTPResponse(connection)
        try:
            response.begin()
            return _Answer(target, response.status, response.getheader("x-request-id", ""), response.read())
        except (http.client.HTTPException, ConnectionResetError):  # no response, or one of HTTP/0.9
            return _Answer(target, 0, "", b"")


def _logged(server: Server) -> dict[str, dict[str, object]]:
    """The lines of the gateway's access log by id."""
    whole = server.log.rpartition("\n")[0]
    lines = (json.loads(line) for line in whole.splitlines() if '"wagi_gateway.access"' in line)
    return {line["id"]: line for line in lines}


def _outcome(answer: _Answer, log: dict[str, dict[str, object]]) -> Outcome:
    line = log.get(answer.request_id)
    if line is None:
        arrived = answer.sent.decode("latin-1") if answer.body == b"Invalid HTTP request received." else None
        return Outcome(answer.status, arrived, "", "", is_below=False)
    path_info = ""
    if answer.status == 200 and answer.body not in (b"public", SECRET):
        path_info = (seen(answer.body)["PATH_INFO"] or b"").decode("latin-1")
    route = str(line["route"])
    is_private = route.startswith("/private/") and path_info != ""
    target = re.sub(r"\A\w+ ", "", str(line["message"]))
    return Outcome(answer.status, target, route, path_info, is_below=is_private or answer.body == SECRET)


def render(outcomes: dict[str, list[Outcome]]) -> str:
    """The page, in Markdown."""
    names = [name for name in outcomes if name]
    lines = [
        "| target | gateway | " + " | ".join(names) + " |",
        "|" + "---|" * (len(names) + 2),
    ]
    for number, target in enumerate(TARGETS):
        cells = [code(target.decode("latin-1")), outcomes[""][number].gateway_cell()]
        for name in names:
            sent = below_prefix(target) if FRONTS[name].has_prefix else target
            cells.append(outcomes[name][number].cell(sent))
        lines.append("| " + " | ".join(cells) + " |")
    return _INTRODUCTION.format(versions=versions()) + "\n".join(lines) + "\n"
