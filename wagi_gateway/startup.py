"""A configuration becomes a site: every module loaded, linked and tried, every route in its place."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import wasmtime
from platformdirs import user_cache_path

from .cache import ArtefactCache, CacheRefused
from .cgi.environ import META_VARIABLES, Authority, Environ
from .compiler import Compiler, EngineSettings, OnCompile, WarmModule, create_engine
from .config import Config, Limits, ModuleConfig
from .configfile import ConfigFile
from .errors import BadRequest, Problem, StartupError
from .observe.guest import GuestLog
from .outbound import define_outbound
from .router import RoutePattern, Router
from .sandbox import Invocation, Sandbox
from .sandbox.capi import AbiMismatch, check_abi
from .sandbox.poll import define_poll_oneoff
from .sources.file import WasmSource, read_module, resolve

# Programs that take options to run other code than the operator's (CVE-2012-1823).
_INTERPRETER = re.compile(r"(php|python|ruby|perl|lua|node|quickjs|qjs|micropython|sh|bash|busybox)\b", re.IGNORECASE)
BUILT_IN = ("/healthz", "/readyz")
_MAX_ROUTES_OUTPUT = 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """What a route leads to: a warm module, the function to call, and what its guests are given."""

    number: int
    """Which `[[module]]` it belongs to; routes of one share its concurrency."""
    config: ModuleConfig
    module: WarmModule
    entrypoint: str
    operator: Environ
    """The operator's environment variables."""
    volumes: tuple[tuple[bytes, bytes, bool], ...]
    """Host directory, guest path, writable."""

    @property
    def limits(self) -> Limits:
        """What a guest may use."""
        return self.config.limits


@dataclass(slots=True)
class Site:
    """Everything a worker serves; immutable once loaded."""

    config: Config
    engine: wasmtime.Engine
    hostname: Authority | None
    router: Router[Endpoint]
    routes: list[tuple[RoutePattern, Endpoint]]
    warnings: list[Problem] = field(default_factory=list)


def load(file: ConfigFile, on_compile: OnCompile | None = None) -> Site:
    """Loads a site. Raises StartupError with every problem there is, those of the file included."""
    return _Loader(file, on_compile).load()


class _Loader:
    def __init__(self, file: ConfigFile, on_compile: OnCompile | None) -> None:
        self.file = file
        self.config = file.config
        self.problems = list(file.problems)
        self.warnings = list(file.warnings)
        self.on_compile = on_compile
        self.sources: dict[Path, WasmSource] = {}
        self.tried: set[tuple[str, Limits]] = set()

    def load(self) -> Site:
        try:
            check_abi()
        except AbiMismatch as error:
            raise StartupError(Problem("", str(error))) from None
        engine, warning = create_engine(_engine_settings(self.config))
        if warning:
            self.warnings.append(Problem("", warning))
        self.compiler = Compiler(engine, _define_host, self._open_cache(), self.on_compile)
        hostname = self._hostname()
        self._check_environment(str(self.file.path), self.config.environment)
        routes = [route for number, _ in enumerate(self.config.module) for route in self._module_routes(number)]
        self._check_routes(routes)
        self.warnings += [Problem("", text) for text in self.compiler.warnings]
        if self.problems:
            raise StartupError(*self.problems, warnings=self.warnings)
        return Site(self.config, engine, hostname, Router(routes), routes, self.warnings)

    def _open_cache(self) -> ArtefactCache | None:
        settings = self.config.cache
        if not settings.enabled:
            return None
        directory = (
            self.file.base.absolute() / settings.directory
            if settings.directory
            else user_cache_path("wagi-gateway", appauthor=False) / "modules"
        )
        try:
            return ArtefactCache(directory)
        except CacheRefused as refused:
            self.warnings.append(Problem("cache", f"{refused}; until then every start compiles the modules again"))
            return None

    def _hostname(self) -> Authority | None:
        if self.config.server.hostname is None:
            return None
        try:
            return Authority.parse(self.config.server.hostname.encode())
        except BadRequest:
            what = f'server.hostname = "{self.config.server.hostname}": not HOST or HOST:PORT'
            self.problems.append(Problem(str(self.file.path), what))
            return None

    def _check_environment(self, where: str, names: Iterator[str] | dict[str, str]) -> None:
        for name in names:
            if name in META_VARIABLES:
                what = f"environment.{name}: the request sets this variable; choose another name"
                self.problems.append(Problem(where, what))

    def _module_routes(self, number: int) -> Iterator[tuple[RoutePattern, Endpoint]]:
        """The routes of one `[[module]]`: its own, and those its `_routes` prints."""
        config = self.config.module[number]
        where = f"{self.file.path}: [[module]] {number + 1} ({config.route})"
        self._check_environment(where, config.environment)
        if config.allowed_hosts:
            what = "allowed_hosts: outbound HTTP is not available in this version; every call is denied"
            self.warnings.append(Problem(where, what))
        if config.argv is None and config.argv_mode == "wagi" and _INTERPRETER.match(Path(config.module).stem):
            what = 'a query such as "?-x" becomes an option of this interpreter; set argv, or argv_mode = "none"'
            self.warnings.append(Problem(where, f'module = "{config.module}": {what}'))
        pattern = self._pattern(where, config.route)
        volumes = self._volumes(where, config)
        module = self._module(where, config)
        if module is None or pattern is None or not self._instantiates(where, config, module):
            return
        operator = {
            name.encode(): value.encode() for name, value in (self.config.environment | config.environment).items()
        }
        endpoint = Endpoint(number, config, module, config.entrypoint, operator, volumes)
        printed = list(self._printed_routes(where, endpoint)) if "_routes" in module.functions else []
        routes: dict[str, tuple[RoutePattern, Endpoint]] = {}
        if self._has_entrypoint(where, module, "entrypoint", config.entrypoint, is_needed=not printed):
            routes[pattern.text] = (pattern, endpoint)
        for path, entrypoint in printed:
            child = self._pattern(f"{where}: _routes", path, parent=pattern)
            if child and self._has_entrypoint(where, module, f"_routes {path}", entrypoint):
                if child.text in routes:
                    self.warnings.append(Problem(where, f"_routes prints {child.text} again; the last line counts"))
                routes[child.text] = (
                    child,
                    Endpoint(number, config, module, entrypoint, operator, volumes),
                )
        yield from routes.values()

    def _pattern(self, where: str, text: str, parent: RoutePattern | None = None) -> RoutePattern | None:
        try:
            return parent.join(text) if parent else RoutePattern(text)
        except ValueError as error:
            self.problems.append(Problem(where, f'route = "{text}": {error}'))
        except BadRequest as error:
            self.problems.append(Problem(where, f'route = "{text}": {error}'))
        return None

    def _volumes(self, where: str, config: ModuleConfig) -> tuple[tuple[bytes, bytes, bool], ...]:
        volumes = []
        for guest, volume in config.volumes.items():
            key = f'volumes."{guest}" = "{volume.path}"'
            try:
                resolved = resolve(volume.path, self.file.base)
            except ValueError as error:
                self.problems.append(Problem(where, f"{key}: {error}"))
                continue
            if resolved.warning:
                self.warnings.append(Problem(where, f"{key}: {resolved.warning}"))
            if not resolved.path.is_dir():
                self.problems.append(Problem(where, f"{key}: there is no directory {resolved.path}"))
            elif not os.access(resolved.path, os.R_OK | os.X_OK):
                self.problems.append(Problem(where, f"{key}: {resolved.path} cannot be read"))
            elif not guest or "\0" in guest:
                self.problems.append(Problem(where, f'{key}: write the guest\'s path, such as "/data"'))
            volumes.append((os.fsencode(resolved.path), guest.encode(), not volume.read_only))
        return tuple(volumes)

    def _module(self, where: str, config: ModuleConfig) -> WarmModule | None:
        key = f'module = "{config.module}"'
        try:
            resolved = resolve(config.module, self.file.base)
        except ValueError as error:
            self.problems.append(Problem(where, f"{key}: {error}"))
            return None
        if resolved.warning:
            self.warnings.append(Problem(where, f"{key}: {resolved.warning}"))
        try:
            if resolved.path not in self.sources:
                self.sources[resolved.path] = read_module(resolved.path)
            return self.compiler.load(self.sources[resolved.path])
        except StartupError as error:
            self.problems += [Problem(where, f"{key}: {problem.what}") for problem in error.problems]
            return None

    def _instantiates(self, where: str, config: ModuleConfig, module: WarmModule) -> bool:
        """Tries the module once under its limits, so that what cannot run is found now."""
        if (module.digest, config.limits) in self.tried:
            return True
        invocation = Invocation(module, None, limits=config.limits, argv=[], environ={})
        _, ended = _run(self.compiler.engine, invocation)
        if ended is not None:
            self.problems.append(Problem(where, f'module = "{config.module}": cannot be instantiated: {ended}'))
            return False
        self.tried.add((module.digest, config.limits))
        return True

    def _has_entrypoint(
        self, where: str, module: WarmModule, key: str, entrypoint: str, *, is_needed: bool = True
    ) -> bool:
        if entrypoint in module.functions:
            return True
        if entrypoint in module.exports:
            what = "is exported, but takes or returns values; an entrypoint does neither"
        else:
            close = get_close_matches(entrypoint, module.functions, n=1)
            offers = ", ".join(sorted(module.functions)) or "no function without parameters and results"
            hint = f"did you mean {close[0]}?" if close else f"{module.name} exports {offers}"
            what = f"there is no such export; {hint}"
        problem = Problem(where, f'{key} = "{entrypoint}": {what}')
        if is_needed:
            self.problems.append(problem)
        else:
            self.warnings.append(Problem(where, f"{problem.what}; only its _routes are served"))
        return False

    def _printed_routes(self, where: str, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
        """Calls `_routes` and reads the lines it prints: a path and an entrypoint each."""
        log = GuestLog(endpoint.config.route, "startup")
        invocation = Invocation(
            endpoint.module, b"_routes", limits=endpoint.limits, argv=[], environ={}, on_stderr=log.feed
        )
        output, ended = _run(self.compiler.engine, invocation)
        log.close()
        if ended is None and not output.strip():
            ended = "it printed nothing; a line is a path and an entrypoint"
        if ended is not None:
            self.problems.append(Problem(where, f"_routes: {ended}"))
            return
        for line in output.decode("utf-8", "backslashreplace").split("\n"):
            columns = line.split()
            if len(columns) == 2:
                yield columns[0], columns[1]
            elif line:
                self.problems.append(Problem(where, f'_routes printed "{line}"; a line is a path and an entrypoint'))

    def _check_routes(self, routes: list[tuple[RoutePattern, Endpoint]]) -> None:
        taken: dict[tuple[bytes, bool], tuple[RoutePattern, Endpoint]] = {}
        for pattern, endpoint in routes:
            where = f"{self.file.path}: [[module]] {endpoint.number + 1} ({endpoint.config.route})"
            if pattern.text in BUILT_IN:
                self.warnings.append(Problem(where, f"{pattern.text} is built in and wins over this route"))
            other = taken.setdefault((pattern.key, pattern.is_prefix), (pattern, endpoint))
            if other[1] is not endpoint:
                what = f"the route {pattern.text} is taken by [[module]] {other[1].number + 1}; give it another one"
                self.problems.append(Problem(where, what))


def _define_host(linker: wasmtime.Linker) -> None:
    define_poll_oneoff(linker)
    define_outbound(linker)


def _engine_settings(config: Config) -> EngineSettings:
    limits = [config.limits, *(module.limits for module in config.module)]
    return EngineSettings(
        slots=config.server.concurrency,
        max_memory=max(limit.memory for limit in limits),
        memories=max(limit.memories for limit in limits),
        tables=max(limit.tables for limit in limits),
        table_elements=max(limit.table_elements for limit in limits),
    )


def _run(engine: wasmtime.Engine, invocation: Invocation) -> tuple[bytes, str | None]:
    """Runs a guest outside of any request: its output, and what went wrong."""

    async def run() -> tuple[bytes, str | None]:
        async with Sandbox(engine) as sandbox:
            execution = sandbox.start(invocation)
            output = b""
            while data := await execution.read():
                output += data
                if len(output) > _MAX_ROUTES_OUTPUT:
                    execution.stop("stdout")
            reason = execution.failure()
            execution.release()
            return output, reason

    # Its own thread, because a server may load a site while its loop runs.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()
