"""A configuration becomes a site: every module loaded, linked and tried, every route in its place."""

from __future__ import annotations

import functools
import os
import re
import ssl
from collections.abc import Iterable, Iterator
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
from .outbound.client import Client
from .outbound.policy import AllowedHost, Policy
from .outbound.proxy import Proxy
from .probe import instantiate, print_routes
from .router import RoutePattern, Router
from .sandbox.calls import MODULE as CALLS
from .sandbox.calls import define_calls
from .sandbox.capi import AbiMismatch, check_abi
from .sandbox.poll import define_poll_oneoff
from .sources.file import WasmSource, read_module, resolve

# Programs that take options to run other code than the operator's (CVE-2012-1823).
_INTERPRETER = re.compile(r"(php|python|ruby|perl|lua|node|quickjs|qjs|micropython|sh|bash|busybox)\b", re.IGNORECASE)
BUILT_IN = ("/healthz", "/readyz")


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
    outbound: Client | None
    """What its guests call out through; None for a module that does not know how to."""

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

    def permissions(self) -> Iterator[tuple[str, str]]:
        """What the guests of each `[[module]]` may call, in words: its route and one thing it may call."""
        for module in self.config.module:
            for entry in map(AllowedHost.parse, module.allowed_hosts or ()):
                words = entry.describe(allow_private_networks=module.allow_private_networks)
                yield module.route, f'"{entry.text}": {words}'

    def close(self) -> None:
        """Closes the connections its guests have used."""
        for _, endpoint in self.routes:
            if endpoint.outbound:
                endpoint.outbound.close()


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
        self.claims: list[tuple[str, int, RoutePattern]] = []

    def load(self) -> Site:
        try:
            check_abi()
        except AbiMismatch as error:
            raise StartupError(Problem("", str(error))) from None
        engine, warning = create_engine(_engine_settings(self.config))
        if warning:
            self.warnings.append(Problem("", warning))
        self.cache = self._open_cache()
        self.compiler = Compiler(engine, _define_host, self.cache, self.on_compile)
        hostname = self._hostname()
        self._check_environment(str(self.file.path), self.config.environment)
        if self.config.outbound.ca_file:
            self._ssl_context  # noqa: B018 - a bad file is a mistake even while nobody calls out
        routes = [route for number, _ in enumerate(self.config.module) for route in self._module_routes(number)]
        self._check_claims()
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

    def _check_environment(self, where: str, names: Iterable[str]) -> None:
        for name in names:
            if name in META_VARIABLES:
                what = f"environment.{name}: the request sets this variable; choose another name"
                self.problems.append(Problem(where, what))

    def _module_routes(self, number: int) -> Iterator[tuple[RoutePattern, Endpoint]]:
        """The routes of one `[[module]]`: its own, and those its `_routes` prints."""
        config = self.config.module[number]
        where = f"{self.file.path}: [[module]] {number + 1} ({config.route})"
        self._check_environment(where, config.environment)
        self._warn_of(where, config)
        pattern = self._pattern(where, config.route)
        volumes = self._volumes(where, config)
        module = self._module(where, config)
        if pattern is None or module is None or not self._instantiates(where, config, module):
            self.claims += [(where, number, pattern)] if pattern else []
            return
        printed = list(self._printed_routes(where, config, module, pattern))
        if self._has_entrypoint(where, module, "entrypoint", config.entrypoint, is_needed=not printed):
            printed.insert(0, (pattern, config.entrypoint))
        outbound = self._outbound(config) if CALLS in module.imports else None
        operator = {
            name.encode(): value.encode() for name, value in (self.config.environment | config.environment).items()
        }
        # Of two lines for one route the last counts, and any of them before the module's own.
        for route, entrypoint in dict(printed).items():
            self.claims.append((where, number, route))
            yield route, Endpoint(number, config, module, entrypoint, operator, volumes, outbound)

    def _printed_routes(
        self, where: str, config: ModuleConfig, module: WarmModule, parent: RoutePattern
    ) -> Iterator[tuple[RoutePattern, str]]:
        if "_routes" not in module.functions:
            return
        pairs, problems = print_routes(self.compiler.engine, module, config.limits, config.route)
        self.problems += [Problem(where, f"_routes: {problem}") for problem in problems]
        for path, entrypoint in pairs:
            pattern = self._pattern(f"{where}: _routes", path, parent=parent)
            if pattern and self._has_entrypoint(where, module, f"_routes {path}", entrypoint):
                yield pattern, entrypoint

    def _warn_of(self, where: str, config: ModuleConfig) -> None:
        """What is allowed and probably not meant."""
        for entry in map(AllowedHost.parse, config.allowed_hosts or ()):
            if entry.ignored:
                what = f'"{entry.text}" permits all of the host; "{entry.ignored}" is not compared'
                self.warnings.append(Problem(where, f"allowed_hosts: {what}"))
            elif not entry.is_exact and self.config.outbound.proxy and not config.allow_private_networks:
                what = f'"{entry.text}" permits no name, because outbound.proxy resolves it'
                self.warnings.append(Problem(where, f"allowed_hosts: {what}; set allow_private_networks = true"))
        if config.argv is None and config.argv_mode == "wagi" and _INTERPRETER.match(Path(config.module).stem):
            what = 'a query such as "?-x" becomes an option of this interpreter; set argv, or argv_mode = "none"'
            self.warnings.append(Problem(where, f'module = "{config.module}": {what}'))
        if "..." in config.route.removesuffix("/..."):
            what = f'route = "{config.route}": "..." stands for everything below at the end only, after a slash'
            self.warnings.append(Problem(where, what))

    def _pattern(self, where: str, text: str, parent: RoutePattern | None = None) -> RoutePattern | None:
        try:
            return parent.join(text) if parent else RoutePattern(text)
        except (ValueError, BadRequest) as error:
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
            elif self.cache and not volume.read_only and _overlap(resolved.path, self.cache.directory):
                what = f"holds the cache {self.cache.directory}, whose files the server runs; set read_only = true"
                self.problems.append(Problem(where, f"{key}: {what}"))
            volumes.append((os.fsencode(resolved.path), guest.encode(), not volume.read_only))
        return tuple(volumes)

    @functools.cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        """Whom outbound calls trust: the system's certificate authorities and the operator's."""
        context = ssl.create_default_context()
        if ca_file := self.config.outbound.ca_file:
            path = self.file.base / ca_file
            try:
                context.load_verify_locations(path)
            except (OSError, ValueError) as error:
                is_read = isinstance(error, ssl.SSLError)
                reason = getattr(error, "strerror", None) or error
                what = "holds no certificate in PEM form" if is_read else f"cannot be read: {reason}"
                self.problems.append(Problem(str(self.file.path), f'outbound.ca_file = "{ca_file}": {path} {what}'))
        return context

    def _outbound(self, config: ModuleConfig) -> Client:
        hosts = config.allowed_hosts or ()
        proxy = self.config.outbound.proxy
        return Client(
            Policy(hosts, allow_private_networks=config.allow_private_networks),
            config.limits,
            config.http_max_concurrency,
            ssl_context=self._ssl_context if hosts else None,
            proxy=Proxy.parse(proxy.get_secret_value()) if proxy else None,
        )

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
        if (module.digest, config.limits) not in self.tried:
            if failure := instantiate(self.compiler.engine, module, config.limits):
                what = f'module = "{config.module}": cannot be instantiated: {failure}'
                self.problems.append(Problem(where, what))
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

    def _check_claims(self) -> None:
        """Each route belongs to one module, also where one of two cannot be loaded."""
        taken: dict[tuple[bytes, bool], int] = {}
        for where, number, pattern in self.claims:
            if pattern.text in BUILT_IN:
                self.warnings.append(Problem(where, f"{pattern.text} is built in and wins over this route"))
            other = taken.setdefault((pattern.key, pattern.is_prefix), number)
            if other != number:
                what = f"the route {pattern.text} is taken by [[module]] {other + 1}; give it another one"
                self.problems.append(Problem(where, what))


def _overlap(one: Path, other: Path) -> bool:
    one, other = one.resolve(), other.resolve()
    return one.is_relative_to(other) or other.is_relative_to(one)


def _define_host(linker: wasmtime.Linker) -> None:
    define_poll_oneoff(linker)
    define_calls(linker)


def _engine_settings(config: Config) -> EngineSettings:
    limits = [config.limits, *(module.limits for module in config.module)]
    return EngineSettings(
        slots=config.server.concurrency,
        max_memory=max(limit.memory for limit in limits),
        memories=max(limit.memories for limit in limits),
        tables=max(limit.tables for limit in limits),
        table_elements=max(limit.table_elements for limit in limits),
    )
