"""What makes a site's modules, and tries them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import wasmtime

from ..compiler.cache import ArtefactCache, CacheRefused
from ..compiler.compiler import Compiler, OnCompile, WarmModule
from ..compiler.engine import EngineSettings, create_engine
from ..config.settings import Config, Limits
from ..observe.guest_log import GuestLog
from ..sandbox.backend import choose
from ..sandbox.experimental_http import EXPERIMENTAL_HTTP
from ..sandbox.fd_write import FD_WRITE
from ..sandbox.invocation import Invocation
from ..sandbox.poll_oneoff import POLL_ONEOFF
from ..sandbox.sandbox import Sandbox
from .findings import Findings


class ModuleLoader:
    """An engine with its compiler, and the modules that were tried; the next site goes on with it."""

    def __init__(
        self,
        config: Config,
        cache_directory: Path,
        findings: Findings,
        on_compile: OnCompile | None = None,
        before: ModuleLoader | None = None,
    ) -> None:
        """What `before` has made is used again if it fits."""
        self.settings = _engine_settings(config)
        if before and before.settings != self.settings:
            before = None
        engine, warning = (before.engine, before.warning) if before else create_engine(self.settings)
        if warning:
            findings.at("").warn(warning)
        self.warning: str | None = warning
        """What is doubtful about the engine."""
        self.cache = _open_cache(cache_directory, findings.at("cache")) if config.cache.enabled else None
        self.compiler: Compiler = Compiler(
            engine, _define_host, self.cache, on_compile, before.compiler if before else None
        )
        self._tried: set[tuple[str, Limits]] = set()
        """Digests of modules and limits they could be instantiated under."""
        self._known = before._tried if before else set()

    @property
    def engine(self) -> wasmtime.Engine:
        """What its modules run in."""
        return self.compiler.engine

    def try_out(self, module: WarmModule, limits: Limits) -> str | None:
        """Instantiates a module once under its limits, so that what cannot run is found now; what went wrong, if
        anything did."""
        one = (module.digest, limits)
        if one not in self._tried:
            if one not in self._known and (failure := instantiate(self.engine, module, limits)):
                return failure
            self._tried.add(one)
        return None

    def forget_before(self) -> None:
        """All is loaded: what was made before and is not used any more goes."""
        self.compiler.forget_before()
        self._known = set()


def _open_cache(directory: Path, findings: Findings) -> ArtefactCache | None:
    try:
        return ArtefactCache(directory)
    except CacheRefused as refused:
        findings.warn(f"{refused}; until then every start compiles the modules again")
        return None


def _define_host(linker: wasmtime.Linker, gathers: bool) -> None:
    define = choose().define
    for host in (POLL_ONEOFF, *EXPERIMENTAL_HTTP, *([FD_WRITE] if gathers else [])):
        define(linker, host)


def _engine_settings(config: Config) -> EngineSettings:
    limits = [config.limits, *(module.limits for module in config.module)]
    return EngineSettings(
        slots=config.server.concurrency + 1,  # one for a module that is tried while all others run
        max_memory=max(limit.memory for limit in limits),
        memories=max(limit.memories for limit in limits),
        tables=max(limit.tables for limit in limits),
        table_elements=max(limit.table_elements for limit in limits),
    )


_MAX_OUTPUT = 1024 * 1024


def instantiate(engine: wasmtime.Engine, module: WarmModule, limits: Limits) -> str | None:
    """Tries a module under its limits; what went wrong, if anything did."""
    return _run(engine, Invocation(module, None, limits=limits, argv=[], environ={}))[1]


def print_routes(
    engine: wasmtime.Engine, module: WarmModule, limits: Limits, route: str
) -> tuple[list[tuple[str, str]], list[str]]:
    """Calls `_routes` and reads what it prints: a path and an entrypoint on each line. Then what is wrong with it."""
    log = GuestLog(route, "startup")
    invocation = Invocation(module, b"_routes", limits=limits, argv=[], environ={}, on_stderr=log.feed)
    output, failure = _run(engine, invocation)
    log.close()
    if failure is not None:
        return [], [failure]
    if not output.strip():
        return [], ["it printed nothing; a line is a path and an entrypoint"]
    pairs, problems = [], []
    for line in output.decode("utf-8", "backslashreplace").split("\n"):
        columns = line.split()
        if len(columns) == 2:
            pairs.append((columns[0], columns[1]))
        elif line:
            problems.append(f'it printed "{line}"; a line is a path and an entrypoint')
    return pairs, problems


def _run(engine: wasmtime.Engine, invocation: Invocation) -> tuple[bytes, str | None]:
    """The output of a guest that belongs to no request, and what went wrong."""

    async def run() -> tuple[bytes, str | None]:
        async with Sandbox(engine) as sandbox:
            guest = sandbox.start(invocation)
            output = b""
            while data := await guest.read():
                output += data
                if len(output) > _MAX_OUTPUT:
                    guest.stop("stdout")
            failure = guest.failure()
            guest.release()
            return output, failure

    # Its own thread, because a server may load a site while its loop runs.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()
