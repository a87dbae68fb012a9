"""The loader of a site's modules: creates their engine, compiles and test-runs them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import wasmtime

from ..compiler.cache import ArtefactCache, CacheRefused
from ..compiler.compilation import POLL_INTERVAL, Wait
from ..compiler.compiler import Compiler, OnCompile
from ..compiler.engine import EngineSettings, create_engine
from ..compiler.warm_module import WarmGuest
from ..config.settings import Config, Limits
from ..errors import MAX_PROBLEMS
from ..observe.guest_log import GuestLog
from ..sandbox import preview1
from ..sandbox.backend import choose
from ..sandbox.experimental_http import EXPERIMENTAL_HTTP
from ..sandbox.guest import Guest
from ..sandbox.invocation import Invocation
from ..sandbox.sandbox import Sandbox
from .findings import Findings


class ModuleLoader:
    """An engine with its compiler and the modules that are known to instantiate; the next site's loader reuses both."""

    def __init__(
        self,
        config: Config,
        cache_directory: Path,
        findings: Findings,
        on_compile: OnCompile | None = None,
        previous: ModuleLoader | None = None,
        cancelled: threading.Event | None = None,
        *,
        has_source_lines: bool = False,
    ) -> None:
        """Engine and modules of `previous` are reused if the engine's settings are equal. `cancelled` ends a load.

        With `has_source_lines`, which a reload keeps, the frames of a trap have files, lines and columns.
        """
        has_source_lines = previous.settings.has_source_lines if previous else has_source_lines
        self.settings: EngineSettings = _engine_settings(config, has_source_lines=has_source_lines)
        if previous and previous.settings != self.settings:
            previous = None
        engine, warning = (previous.engine, previous.warning) if previous else create_engine(self.settings)
        if warning:
            findings.at("").warn(warning)
        self.warning: str | None = warning
        """The warning of the engine's creation."""
        self.cache = _open_cache(cache_directory, findings.at("cache")) if config.cache.enabled else None
        self.compiler: Compiler = Compiler(
            engine,
            _define_host,
            self.cache,
            on_compile,
            previous.compiler if previous else None,
            settings=config.compiler,
            cancelled=cancelled,
            has_source_lines=has_source_lines,
            define_missing=choose().define_missing,
        )
        self._cancelled = cancelled or threading.Event()
        self._is_silent = on_compile is not None
        self._checked: set[tuple[str, Limits]] = set()
        """Digests of modules, and the limits under which they instantiate."""
        self._previously_checked = previous._checked if previous else set()

    @property
    def engine(self) -> wasmtime.Engine:
        """The engine of its modules."""
        return self.compiler.engine

    def check_instantiates(self, module: WarmGuest, limits: Limits) -> str | None:
        """Instantiates a module once under its limits. Returns why it fails, if it does. Raises LoadCancelled."""
        key = (module.digest, limits)
        if key not in self._checked:
            if key not in self._previously_checked:
                invocation = Invocation(module, None, limits=limits, argv=[], environ={})
                if failure := _run(self.engine, invocation, self._wait(f"instantiating {module.name}")).failure:
                    return failure
            self._checked.add(key)
        return None

    def print_routes(self, module: WarmGuest, limits: Limits, route: str) -> PrintedRoutes:
        """Calls `_routes` of a module, which prints a path and an entrypoint on each line (docs/spec/wagi.md).

        Raises LoadCancelled.
        """
        log = GuestLog(route, "startup")
        invocation = Invocation(module, b"_routes", limits=limits, argv=[], environ={}, on_stderr=log.feed)
        output, failure = _run(self.engine, invocation, self._wait(f"running _routes of {module.name}"))
        log.close()
        if failure is not None:
            return PrintedRoutes([], [failure])
        return PrintedRoutes.read(output)

    def _wait(self, what: str) -> Wait:
        return Wait(what, self._cancelled, is_silent=self._is_silent)

    def drop_previous(self) -> None:
        """Drops modules of the previous loader that this one does not use. Called once every module is loaded."""
        self.compiler.drop_previous()
        self._previously_checked = set()


def _open_cache(directory: Path, findings: Findings) -> ArtefactCache | None:
    try:
        return ArtefactCache(directory)
    except CacheRefused as refused:
        findings.warn(f"{refused}; until then every start compiles the modules again")
        return None


def _define_host(linker: wasmtime.Linker, has_files: bool, names: Collection[tuple[str, str]] | None = None) -> None:
    define = choose().define
    for host in (
        *preview1.PROCESS,
        *EXPERIMENTAL_HTTP,
        *(() if has_files else (*preview1.STREAMS, *preview1.NO_FILES)),
    ):
        if names is None or (host.module, host.name) in names:
            define(linker, host)


def _engine_settings(config: Config, *, has_source_lines: bool) -> EngineSettings:
    limits = [config.limits, *(module.limits for module in config.module)]
    return EngineSettings(
        slots=config.server.concurrency + 1,  # one for `check_instantiates` while all others run
        max_memory=max(limit.memory for limit in limits),
        memories=max(limit.memories for limit in limits),
        tables=max(limit.tables for limit in limits),
        table_elements=max(limit.table_elements for limit in limits),
        has_source_lines=has_source_lines,
    )


_MAX_OUTPUT = 1024 * 1024
"""Most output of `_routes`, in bytes."""


class PrintedRoutes(NamedTuple):
    """The output of `_routes`: pairs of a path and an entrypoint, and what is wrong with it."""

    routes: list[tuple[str, str]]
    problems: list[str]

    @classmethod
    def read(cls, output: bytes) -> PrintedRoutes:
        """Reads the lines up to the hundredth problem."""
        if not output.strip():
            return cls([], ["it printed nothing; a line is a path and an entrypoint"])
        printed = cls([], [])
        for line in output.decode("utf-8", "backslashreplace").split("\n"):
            columns = line.split()
            if len(columns) == 2:
                printed.routes.append((columns[0], columns[1]))
            elif line:
                printed.problems.append(f'it printed "{line}"; a line is a path and an entrypoint')
            if len(printed.problems) >= MAX_PROBLEMS:
                break
        return printed


class _Output(NamedTuple):
    stdout: bytes
    failure: str | None


def _run(engine: wasmtime.Engine, invocation: Invocation, wait: Wait) -> _Output:
    """Runs a guest outside of any request. Raises LoadCancelled, and has stopped the guest then."""

    async def read(guest: Guest, ended: asyncio.Event) -> bytes:
        output = b""
        while data := await guest.read():
            output += data
            if len(output) > _MAX_OUTPUT:
                guest.stop("stdout")
        await ended.wait()  # a guest may close its standard output and go on
        return output

    async def run() -> _Output:
        async with Sandbox(engine) as sandbox:
            ended = asyncio.Event()
            guest = sandbox.start(invocation, on_end=lambda _: ended.set())
            reading = asyncio.create_task(read(guest, ended))
            while not (await asyncio.wait([reading], timeout=POLL_INTERVAL))[0]:
                wait.check()
            failure = guest.failure()
            guest.release()
            return _Output(reading.result(), failure and failure + guest.circumstances())

    # In a thread, because the caller's may run an event loop: that of a server that reloads.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()
