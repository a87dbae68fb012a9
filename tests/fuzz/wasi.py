"""Guests of strangers: any calls of WASI, with and without a volume, on the event loop's thread and on others."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from tests.support.sandbox import compiler
from tests.support.wasi_driver import calls_of, driver, script
from wagi_gateway.config.settings import Limits
from wagi_gateway.sandbox.guest import Guest
from wagi_gateway.sandbox.invocation import GuestVolume, Invocation
from wagi_gateway.sandbox.sandbox import Sandbox
from wagi_gateway.sources.file import WasmSource

_LIMITS = Limits.model_validate({"time": 0.2, "stdout": "1MiB", "stderr": "64KiB", "files": 8})
SEEDS = (
    b"",
    *(bytes((function, *range(12))) for function in range(0, 46, 5)),
    bytes(range(256)),
    bytes(number * 7 % 256 for number in range(600)),
)
WORDS = tuple(bytes((number,)) * 4 for number in range(0, 48, 3))


_REFUSALS = ("In func wasi_snapshot_preview1::", "Pointer out of bounds", "Slice length", "Pointer not aligned")
"""Messages of wasmtime's own functions, which end a guest whose flags or addresses are out of range."""


class _Records(logging.Handler):
    """Collects what the gateway logs as an error: a host function that has failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


@cache
def _loop() -> tuple[asyncio.Runner, Sandbox, _Records, Path]:
    runner = asyncio.Runner()
    sandbox = runner.run(_enter())
    records = _Records()
    logging.getLogger("wagi_gateway").addHandler(records)
    return runner, sandbox, records, Path(tempfile.mkdtemp())


async def _enter() -> Sandbox:
    return await Sandbox(compiler().engine).__aenter__()


def check(data: bytes) -> None:
    """A guest that makes these calls ends by itself or at its limits, fails no host function, and leaves nothing."""
    runner, sandbox, records, directory = _loop()
    wat, stdin = driver(), script(calls_of(data))[: 32 * 1024]
    for has_files in (False, True):
        if has_files:
            shutil.rmtree(directory, ignore_errors=True)
            (directory / "a").mkdir(parents=True)
            (directory / "c").write_bytes(b"file")
        volumes = (GuestVolume(bytes(directory), b"/", is_writable=True),) if has_files else ()
        module = compiler().load(WasmSource("driver.wat", wat.encode(), wat), has_files=has_files)
        given = Invocation(module, b"_start", limits=_LIMITS, argv=[b"/x"], environ={b"A": b"b"}, volumes=volumes)
        before = len(os.listdir("/proc/self/fd"))
        guest = runner.run(_run(sandbox, replace(given, stdin=stdin)))
        assert guest.outcome is not None
        kind, message = guest.outcome.kind, guest.outcome.message
        assert kind in ("exit", "trap", "stopped") or any(text in message for text in _REFUSALS), guest.failure()
        assert not records.messages, records.messages.pop()
        assert len(os.listdir("/proc/self/fd")) <= before + 5  # of wasmtime and `file_thread`, at the first guest


async def _run(sandbox: Sandbox, given: Invocation) -> Guest:
    ended = asyncio.Event()
    guest = sandbox.start(given, on_end=lambda _: ended.set())
    while await guest.read():
        pass
    await asyncio.wait_for(ended.wait(), 20)
    guest.release()
    return guest
