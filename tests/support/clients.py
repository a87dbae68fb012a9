"""Guests with outbound calls: by the header of samples/c, by the binding of samples/assemblyscript, and in WAT."""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from samples.packages import Compiled
from tests.conftest import ROOT, Server, wait_until
from tests.support import guests
from tests.support.farm import Target
from tests.support.sandbox import compiler, warm
from tests.system.foreign.toolchains import SAMPLES, Toolchains, build_c
from wagi_gateway.config.settings import Limits
from wagi_gateway.outbound import client
from wagi_gateway.outbound.client import Call
from wagi_gateway.outbound.session import OutboundSession
from wagi_gateway.sandbox.guest import Guest
from wagi_gateway.sandbox.invocation import Invocation
from wagi_gateway.sandbox.sandbox import Sandbox

REQ = '(import "wasi_experimental_http" "req" (func $req (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))'
SMALL, LARGE = 4096, 65536
"""Bytes of the published clients' buffers for a header; LARGE is the second attempt of the Rust client."""

_HERE = ROOT / "tests/system/outbound"
_SAMPLE = SAMPLES / "assemblyscript"
# Without a garbage collector: this compiler's fails on as-wasi's Descriptor, an object that is really a number.
_INDEPENDENT = Compiled(
    (_HERE / "independent.ts", _HERE / "package.json"),
    ("--binaryFile", "built.wasm", "--optimizeLevel", "2", "--runtime", "stub", "--use", "abort=wasi_abort"),
)
_BINDING = Compiled(
    (
        _HERE / "binding.ts",
        *(_SAMPLE / name for name in ("wasi_experimental_http.ts", "asconfig.json", "package.json")),
    ),
    ("--outFile", "built.wasm"),
)


def build_clients(directory: Path, toolchains: Toolchains) -> None:
    """Puts `caller.wasm`, `independent.wasm` and `binding.wasm` into a directory; their sources describe them."""
    build_c("system/outbound/caller.c", directory / "caller.wasm", toolchains, "-I", str(SAMPLES / "c"))
    for name, module in (("independent.wasm", _INDEPENDENT), ("binding.wasm", _BINDING)):
        (directory / name).symlink_to(module.build(toolchains))


def script(server: Server, *lines: str | bytes, path: str = "/caller") -> list[list[str]]:
    """Runs `caller.wasm` with these lines as its input; returns the words of each printed line."""
    text = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    response = server.post(path, text)
    assert response.status_code == 200, response.text
    return [line.split(" ") for line in response.text.splitlines()]


@dataclass(frozen=True, slots=True)
class Asked:
    """One outbound call for a guest to make."""

    method: str
    url: str
    header: str = ""
    """A line for the request."""
    body: bytes = b""
    look_up: str = ""
    """A header of the response to look up."""
    room: int = 0
    """Size of the buffer for the header's value; 0 stands for SMALL, and LARGE if SMALL is too small."""
    part: int = SMALL
    """Size of the buffer for parts of the body."""
    held: int = 0
    """Number of responses that the guest opens before and leaves open."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a call as the guest sees it: the error of `req` and, without an error, the response."""

    error: int
    status: int = 0
    look_up: tuple[int, str] | None = None
    """Error and value of the header look-up."""
    size: int = 0
    digest: int = 0

    @classmethod
    def of(cls, status: int, body: bytes, look_up: tuple[int, str] | None = None) -> Answer:
        """The result of a call that succeeds."""
        return cls(0, status, look_up, len(body), fnv(body))


def fnv(data: bytes) -> int:
    """FNV-1a of 32 bits."""
    digest = 2166136261
    for byte in data:
        digest = (digest ^ byte) * 16777619 & 0xFFFFFFFF
    return digest


class Client(Protocol):
    """Makes a call through a guest."""

    def __call__(self, server: Server, asked: Asked) -> Answer:
        """Returns the result as the guest sees it."""


def c_client(server: Server, asked: Asked) -> Answer:
    """Makes the call through `caller.wasm`."""
    rooms = [asked.room] if asked.room else [SMALL, LARGE]
    results = script(
        server,
        *[f"req GET {asked.url}"] * asked.held,
        *[f"header {asked.header}"] * bool(asked.header),
        b"body " + asked.body,
        f"req {asked.method} {asked.url}",
        *[f"get {asked.look_up} {room}" for room in rooms if asked.look_up],
        f"drain {asked.part}",
        "close",
    )
    error, status = (int(word) for word in results[asked.held][1:3])
    if error:
        return Answer(error)
    tried = [(int(words[1]), words[3]) for words in results if words[0] == "get"]
    look_up = next((answer for answer in tried if answer[0] != 4), tried[-1]) if tried else None
    (drained,) = (words for words in results if words[0] == "drain")
    assert (drained[1], results[-1]) == ("0", ["close", "0"])
    return Answer(0, status, look_up, int(drained[2]), int(drained[3]))


def independent_client(server: Server, asked: Asked) -> Answer:
    """Makes the call through `independent.wasm`."""
    settings = {"send": asked.header, "look-up": asked.look_up, "room": asked.room, "part": asked.part}
    headers = {f"x-{name}": str(value) for name, value in {**settings, "open": asked.held}.items() if value}
    url = f"{server.url}/independent?{asked.url}"
    response = server.client.request(asked.method, url, content=asked.body, headers=headers)
    assert response.status_code == 200, response.text
    if error := int(response.headers["x-error"]):
        return Answer(error)
    look_up = None
    if asked.look_up:
        code, _, value = response.headers["x-look-up"].partition(" ")
        look_up = (int(code), value)
    return Answer.of(int(response.headers["x-status"]), response.content, look_up)


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway whose guests call out, and a server that they may not call."""

    gateway: Server
    denied: Target


@dataclass(frozen=True, slots=True)
class Described:
    """A call as a guest describes it."""

    to: str
    by: str = "GET"
    sent: bytes = b""
    header: str = ""
    """Lines of the header section."""

    def url(self) -> str:
        return self.to

    def method(self) -> str:
        return self.by

    def body(self) -> bytes:
        return self.sent

    def headers(self) -> str:
        return self.header


class IdleWaiter:
    """Waits as an invocation does, without a deadline."""

    def __init__(self) -> None:
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        os.close(self._wakeup)

    def wait(self, seconds: float, descriptor: int, events: int) -> bool:
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        if descriptor >= 0:
            poll.register(descriptor, events)
        ready = poll.poll(max(0.0, seconds * 1000))
        if any(number == self._wakeup for number, _ in ready):
            os.eventfd_read(self._wakeup)
        return bool(ready)

    def wake(self) -> None:
        os.eventfd_write(self._wakeup, 1)

    def must_stop(self) -> bool:
        return False


def guest_that_calls(url: bytes, *, imports: str = "", then: str = "") -> str:
    """A guest that makes one `$call`, runs `then`, and exits with the error of the call, 0 without one."""
    return f"""(module {guests.PROC_EXIT} {REQ} {imports}
     (memory (export "memory") 1)
     (data (i32.const 1024) {guests.wat_string(url)}) (data (i32.const 512) "GET")
     (func $call (result i32)
      (call $req (i32.const 1024) (i32.const {len(url)}) (i32.const 512) (i32.const 3) (i32.const 0) (i32.const 0)
       (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 16)))
     (func (export "_start") (local $error i32)
      (local.set $error (call $call)) {then} (call $exit (local.get $error))))"""


def run_alone(
    wat: str, way_out: client.OutboundClient, limits: Limits, until: Callable[[list[Call]], bool] | None = None
) -> tuple[Guest, list[Call], float]:
    """Runs a guest; returns it, its calls and the seconds it took. The client leaves once `until` holds."""
    calls: list[Call] = []

    async def main() -> tuple[Guest, list[Call], float]:
        async with Sandbox(compiler().engine) as sandbox:
            ended = asyncio.Event()
            session = OutboundSession(way_out, calls.append)
            given = Invocation(warm(wat), b"_start", limits=limits, argv=[b"/"], environ={}, outbound=session)
            begin = time.monotonic()
            guest = sandbox.start(given, on_end=lambda _: ended.set())
            if until:
                await asyncio.to_thread(wait_until, lambda: until(calls))
                guest.release()
            await asyncio.wait_for(ended.wait(), 10)
            if not until:
                guest.release()
            session.end()
            return guest, calls, time.monotonic() - begin

    return asyncio.run(main())
