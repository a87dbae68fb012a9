"""A configuration becomes a site: every module loaded, linked and tried, every route in its place."""

from __future__ import annotations

import functools
import os
import re
import ssl
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import wasmtime
from platformdirs import user_cache_path

from . import tls
from .cache import ArtefactCache, CacheRefused
from .cgi.environ import META_VARIABLES, Authority
from .compiler import Compiler, EngineSettings, OnCompile, WarmModule, create_engine
from .config import Config, Limits, ModuleConfig, Volume
from .configfile import ConfigFile
from .errors import BadRequest, Problem, StartupError
from .observe import tracing
from .observe.metrics import LOADS, PULLS
from .outbound.client import Client
from .outbound.policy import AllowedHost, Policy
from .outbound.proxy import Proxy
from .probe import instantiate, print_routes
from .router import RoutePattern, Router
from .sandbox.calls import MODULE as CALLS
from .sandbox.calls import define_calls
from .sandbox.gather import define_gathering_fd_write
from .sandbox.poll import define_poll_oneoff
from .site import Endpoint, GuestVolume, Site, Workshop
from .sources.errors import RegistryError
from .sources.file import WasmSource
from .sources.modules import ModuleSources, is_image
from .static import StaticDirectory
from .trust import create_context
from .values import is_private
from .volumes import OpenVolume, Volumes

if TYPE_CHECKING:
    from .sources.oci import OnProgress

# Programs that take options to run other code than the operator's (CVE-2012-1823).
_INTERPRETER = re.compile(r"(php|python|ruby|perl|lua|node|quickjs|qjs|micropython|sh|bash|busybox)\b", re.IGNORECASE)
BUILT_IN = ("/healthz", "/readyz")


def load(
    file: ConfigFile,
    on_compile: OnCompile | None = None,
    on_pull: OnProgress | None = None,
    *,
    before: Site | None = None,
) -> Site:
    """Loads a site. Raises StartupError with every problem there is, those of the file included.

    `before` is the site it is to take the place of: its engine, modules and temporary directories are used again where
    they are the same.
    """
    loader = _Loader(file, on_compile, on_pull, before)
    try:
        return loader.load()
    except BaseException:
        loader.volumes.close()
        raise


def cache_directory(file: ConfigFile) -> Path:
    """Where compiled modules are kept, and modules from registries."""
    directory = file.config.cache.directory
    if directory:
        return file.base.absolute() / directory
    return user_cache_path("wagi-gateway", appauthor=False) / "modules"


def log_directory(file: ConfigFile) -> Path | None:
    """Where guests' standard error goes, if it goes to files."""
    directory = file.config.log.directory
    return file.base.absolute() / directory if directory else None


class _Loader:
    def __init__(
        self, file: ConfigFile, on_compile: OnCompile | None, on_pull: OnProgress | None, before: Site | None
    ) -> None:
        self.file = file
        self.config = file.config
        self.problems = list(file.problems)
        self.warnings = list(file.warnings)
        self.on_compile = on_compile
        self.on_pull = on_pull
        self.cache_directory = cache_directory(file)
        self.log_directory = log_directory(file)
        self.before = before
        self.volumes = Volumes(file.base, before.volumes if before else None)
        self.tried: set[tuple[str, Limits]] = set()
        self.claims: list[tuple[str, str, RoutePattern]] = []

    def load(self) -> Site:
        settings = _engine_settings(self.config)
        workshop = self.before.workshop if self.before else None
        if workshop and workshop.settings == settings:
            engine, warning = workshop.compiler.engine, workshop.warning
        else:
            workshop = None
            engine, warning = create_engine(settings)
        if warning:
            self.warnings.append(Problem("", warning))
        self.known = workshop.tried if workshop else frozenset()
        self.cache = self._open_cache()
        before = workshop.compiler if workshop else None
        self.compiler = Compiler(engine, _define_host, self.cache, self.on_compile, before)
        self.sources = ModuleSources(self.config, self.file.base, self.cache_directory, self.on_pull)
        hostname = self._hostname()
        self._check_environment(str(self.file.path), self.config.environment)
        if (admin := self.config.admin.listen) and not is_private(admin):
            what = f'admin.listen = "{admin}": whoever reaches this address may look and reload; use 127.0.0.1'
            self.warnings.append(Problem(str(self.file.path), what))
        try:
            tracing.check(self.config.tracing)
        except ValueError as error:
            self.problems.append(Problem(str(self.file.path), f"tracing.export = true: {error}"))
        if self.config.outbound.ca_file:
            self._ssl_context  # noqa: B018 - a bad file is a mistake even while nobody calls out
        routes = [route for number, _ in enumerate(self.config.module) for route in self._module_routes(number)]
        static = [route for number, _ in enumerate(self.config.static) for route in self._static_routes(number)]
        certificate = self._certificate()
        self._check_log_directory()
        self._check_claims()
        # Last, because a start that is killed before leaves no temporary directory behind.
        volumes = self._open_volumes()
        routes = [(pattern, replace(endpoint, volumes=volumes[endpoint.number])) for pattern, endpoint in routes]
        self.warnings += [*self.sources.warnings, *(Problem("", text) for text in self.compiler.warnings)]
        if self.problems:
            raise StartupError(*self.problems, warnings=self.warnings)
        self.compiler.forget_before()
        return Site(
            self.config,
            engine,
            hostname,
            Router([*routes, *static]),
            routes,
            self.warnings,
            self.volumes,
            Workshop(settings, warning, self.compiler, frozenset(self.tried)),
            self.sources.in_use(),
            self._loads(),
            certificate,
            static,
            self.log_directory,
        )

    def _loads(self) -> Counter[tuple[str, str]]:
        loads = {(LOADS.name, source): count for source, count in self.compiler.loads.items()}
        return Counter(loads | {(PULLS.name, outcome): count for outcome, count in self.sources.pulls.items()})

    def _open_cache(self) -> ArtefactCache | None:
        if not self.config.cache.enabled:
            return None
        try:
            return ArtefactCache(self.cache_directory)
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
        where = self.file.where(number)
        self._check_environment(where, config.environment)
        self._warn_of(where, config)
        pattern = self._pattern(where, config.route)
        source = self._source(where, config)
        module = self._module(where, config, source) if source else None
        if pattern is None or source is None or module is None or not self._instantiates(where, config, module):
            self.claims += [(where, f"[[module]] {number + 1}", pattern)] if pattern else []
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
            self.claims.append((where, f"[[module]] {number + 1}", route))
            yield route, Endpoint(number, config, module, entrypoint, operator, (), outbound, source.image)

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

    def _open_volumes(self) -> list[tuple[GuestVolume, ...]]:
        """The volumes of each `[[module]]`."""
        opened = [
            [(guest, volume, self._open_volume(number, guest, volume)) for guest, volume in config.volumes.items()]
            for number, config in enumerate(self.config.module)
        ]
        # What lies inside another one can be told when all are open.
        return [
            tuple(
                (directory.host_path, guest.encode(), not volume.read_only)
                for guest, volume, directory in volumes
                if directory and self._is_safe(number, guest, volume, directory)
            )
            for number, volumes in enumerate(opened)
        ]

    def _open_volume(self, number: int, guest: str, volume: Volume) -> OpenVolume | None:
        where, key = self.file.where(number), _volume_key(guest, volume)
        if not guest or "\0" in guest:
            self.problems.append(Problem(where, f'{key}: write the guest\'s path, such as "/data"'))
            return None
        try:
            directory = self.volumes.open(volume)
        except (OSError, ValueError) as error:
            self.problems.append(Problem(where, f"{key}: {error}"))
            return None
        finally:
            if self.volumes.warning:
                self.warnings.append(Problem(where, f"{key}: {self.volumes.warning}"))
        return directory

    def _is_safe(self, number: int, guest: str, volume: Volume, directory: OpenVolume) -> bool:
        where, key = self.file.where(number), _volume_key(guest, volume)
        try:
            self.volumes.check(directory)
        except ValueError as error:
            self.problems.append(Problem(where, f"{key}: {error}"))
            return False
        if self._uses_cache() and not volume.read_only and _overlap(directory.real_path, self.cache_directory):
            what = f"holds the cache {self.cache_directory}, whose files the server runs; set read_only = true"
            self.problems.append(Problem(where, f"{key}: {what}"))
            return False
        if self.log_directory and not volume.read_only and _overlap(directory.real_path, self.log_directory):
            what = f"holds the logs in {self.log_directory}, which guests must not change; choose another log.directory"
            self.problems.append(Problem(where, f"{key}: {what}"))
            return False
        return True

    def _check_log_directory(self) -> None:
        """Makes nothing: whoever checks a configuration may be another user than who serves it."""
        if self.log_directory is None:
            return
        try:
            there = next(path for path in (self.log_directory, *self.log_directory.parents) if path.exists())
            if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
                return
            what = f"{there} cannot be written by user {os.geteuid()}" if there.is_dir() else f"{there} is no directory"
        except OSError as error:
            what = f"cannot be used: {error.strerror}"
        key = f'log.directory = "{self.config.log.directory}"'
        self.problems.append(Problem(str(self.file.path), f"{key}: {what}; name another one, or change its owner"))

    def _uses_cache(self) -> bool:
        return self.cache is not None or any(is_image(module.module) for module in self.config.module)

    @functools.cached_property
    def _ssl_context(self) -> ssl.SSLContext | None:
        """Whom outbound calls trust; None where that cannot be known."""
        ca_file = self.config.outbound.ca_file
        try:
            return create_context(self.file.base / ca_file if ca_file else None)
        except ValueError as error:
            self.problems.append(Problem(str(self.file.path), f'outbound.ca_file = "{ca_file}": {error}'))
            return None

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

    def _source(self, where: str, config: ModuleConfig) -> WasmSource | None:
        key = f'module = "{config.module}"'
        try:
            source, warnings = self.sources.read(config)
        except StartupError as error:
            self.problems += [Problem(where, f"{key}: {problem.what}") for problem in error.problems]
        except RegistryError as error:
            self.problems.append(Problem(where, f"{key}: {error.what}"))
        except ValueError as error:
            # A malformed reference may hold a password; what of it can be shown, the error shows.
            what = "module" if is_image(config.module) else key
            self.problems.append(Problem(where, f"{what}: {error}"))
        else:
            self.warnings += [Problem(where, f"{key}: {warning}") for warning in warnings]
            return source
        return None

    def _module(self, where: str, config: ModuleConfig, source: WasmSource) -> WarmModule | None:
        try:
            return self.compiler.load(source, has_files=bool(config.volumes))
        except StartupError as error:
            self.problems += [
                Problem(where, f'module = "{config.module}": {problem.what}') for problem in error.problems
            ]
            return None

    def _instantiates(self, where: str, config: ModuleConfig, module: WarmModule) -> bool:
        """Tries the module once under its limits, so that what cannot run is found now."""
        if (module.digest, config.limits) not in self.tried:
            is_known = (module.digest, config.limits) in self.known
            if not is_known and (failure := instantiate(self.compiler.engine, module, config.limits)):
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

    def _static_routes(self, number: int) -> Iterator[tuple[RoutePattern, StaticDirectory]]:
        config, owner = self.config.static[number], f"[[static]] {number + 1}"
        where, key = f"{self.file.path}: {owner} ({config.route})", f'directory = "{config.directory}"'
        pattern = self._pattern(where, config.route)
        directory = self.file.base.absolute() / config.directory
        try:
            os.listdir(directory)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self.problems.append(Problem(where, f"{key}: cannot be read: {reason}"))
        for what, path in self._private_files():
            if path.resolve().is_relative_to(directory.resolve()):
                self.problems.append(Problem(where, f"{key}: it holds {what}, which everybody could read"))
        if pattern:
            self.claims.append((where, owner, pattern))
            yield pattern, StaticDirectory(config, directory)

    def _private_files(self) -> Iterator[tuple[str, Path]]:
        """What must not be published."""
        yield "this file", self.file.path.absolute()
        if self.file.settings:
            yield str(self.file.settings), self.file.settings.absolute()
        if self._uses_cache():
            yield "the cache", self.cache_directory
        if self.log_directory:
            yield "the logs (log.directory)", self.log_directory
        server = self.config.server
        keys = {"server.tls_key": server.tls_key or server.tls_cert, "auth_file": self.config.auth_file}
        keys |= {f"registries.{host}.password_file": one.password_file for host, one in self.config.registries.items()}
        for name, file in keys.items():
            if file:
                yield name, self.file.base.absolute() / file

    def _certificate(self) -> bytes | None:
        server = self.config.server
        if self.before and (self.before.certificate is None) != (server.tls_cert is None):
            what = "server.tls_cert: whether the socket speaks TLS cannot change before a restart"
            self.problems.append(Problem(str(self.file.path), what))
        if server.tls_cert is None and server.tls_key is None:
            return None
        try:
            return tls.read(server, self.file.base)
        except StartupError as error:
            self.problems += [Problem(str(self.file.path), problem.what) for problem in error.problems]
            return None

    def _check_claims(self) -> None:
        """Each route belongs to one module or directory, also where one of two cannot be loaded."""
        taken: dict[tuple[bytes, bool], str] = {}
        for where, owner, pattern in self.claims:
            if pattern.text in BUILT_IN:
                self.warnings.append(Problem(where, f"{pattern.text} is built in and wins over this route"))
            other = taken.setdefault((pattern.key, pattern.is_prefix), owner)
            if other != owner:
                what = f"the route {pattern.text} is taken by {other}; give it another one"
                self.problems.append(Problem(where, what))


def _volume_key(guest: str, volume: Volume) -> str:
    return f'volumes."{guest}" = "{volume.path or volume.temporary}"'


def _overlap(one: Path, other: Path) -> bool:
    one, other = one.resolve(), other.resolve()
    return one.is_relative_to(other) or other.is_relative_to(one)


def _define_host(linker: wasmtime.Linker, gathers: bool) -> None:
    define_poll_oneoff(linker)
    define_calls(linker)
    if gathers:
        define_gathering_fd_write(linker)


def _engine_settings(config: Config) -> EngineSettings:
    limits = [config.limits, *(module.limits for module in config.module)]
    return EngineSettings(
        slots=config.server.concurrency + 1,  # one for a module that is tried while all others run
        max_memory=max(limit.memory for limit in limits),
        memories=max(limit.memories for limit in limits),
        tables=max(limit.tables for limit in limits),
        table_elements=max(limit.table_elements for limit in limits),
    )
