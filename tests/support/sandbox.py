"""Modules and invocations for guests that run in the test's own process."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection

import wasmtime

from wagi_gateway.compiler import abi
from wagi_gateway.compiler.compiler import Compiler
from wagi_gateway.compiler.engine import EngineSettings, create_engine
from wagi_gateway.compiler.warm_module import WarmGuest, WarmModule
from wagi_gateway.config.settings import Limits
from wagi_gateway.sandbox import preview1
from wagi_gateway.sandbox.backend import choose
from wagi_gateway.sandbox.experimental_http import EXPERIMENTAL_HTTP
from wagi_gateway.sandbox.guest import Guest
from wagi_gateway.sandbox.invocation import Invocation
from wagi_gateway.sandbox.sandbox import Sandbox
from wagi_gateway.sources.file import WasmSource

SETTINGS = EngineSettings(slots=16, max_memory=256 * 2**20, memories=2, tables=4, table_elements=1000)


def define(linker: wasmtime.Linker, has_files: bool, names: Collection[tuple[str, str]] | None = None) -> None:
    """Defines the host functions, as `wagi_gateway.site` does."""
    for host in (
        *preview1.PROCESS,
        *EXPERIMENTAL_HTTP,
        *(() if has_files else (*preview1.STREAMS, *preview1.NO_FILES)),
    ):
        if names is None or (host.module, host.name) in names:
            choose().define(linker, host)


@functools.cache
def _compiler(_is_hot: bool) -> Compiler:
    return Compiler(create_engine(SETTINGS)[0], define, define_missing=choose().define_missing)


def compiler() -> Compiler:
    """The compiler of the test's backend."""
    return _compiler(abi.has_known_abi())


def warm(wat: str, *, has_files: bool = False, allows_missing: bool = False) -> WarmModule:
    """Compiles a WAT text."""
    source = WasmSource("guest.wat", wat.encode(), wat)
    return core(compiler().load(source, has_files=has_files, allows_missing=allows_missing))


def core(module: WarmGuest) -> WarmModule:
    """A core module, for tests that look into it."""
    assert isinstance(module, WarmModule)
    return module


def invocation(
    wat: str,
    *,
    stdin: bytes | int = b"",
    on_stderr: Callable[[bytes], None] = lambda _: None,
    **limits: object,
) -> Invocation:
    """An invocation with a value in every field; `limits` as in `[limits]`."""
    return Invocation(
        warm(wat),
        b"_start",
        limits=Limits.model_validate(limits),
        argv=[b"/x"],
        environ={b"A": b"b"},
        stdin=stdin,
        on_stderr=on_stderr,
    )


def run(given: Invocation, engine: wasmtime.Engine | None = None) -> tuple[bytes, Guest]:
    """Runs a guest to its end, on `engine` or that of `warm`; returns its output and the guest."""

    async def main() -> tuple[bytes, Guest]:
        async with Sandbox(engine or compiler().engine) as sandbox:
            ended = asyncio.Event()
            guest = sandbox.start(given, on_end=lambda _: ended.set())
            output = b""
            while data := await guest.read():
                output += data
            guest.release()
            await asyncio.wait_for(ended.wait(), 30)
            return output, guest

    return asyncio.run(main())
