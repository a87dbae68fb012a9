"""The site that a worker serves: its routes with their modules, volumes and directories. Immutable once loaded."""

from __future__ import annotations

import gc
import logging
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import wasmtime

from ..cgi.environ import Environ
from ..cgi.request import Authority
from ..compiler.warm_module import WarmGuest
from ..config.file import ConfigFile
from ..config.settings import Config, Limits, LogConfig, ModuleConfig, VolumeConfig
from ..errors import Problem, redact_value
from ..http.document_root import DocumentRoot
from ..http.static import StaticDirectory
from ..memory import give_back
from ..observe.module_log import module_log
from ..observe.process_registry import ServedModule, ServedSite
from ..outbound.policy import AllowedHost
from ..router import RoutePattern, Router
from ..sandbox.invocation import GuestVolume
from ..tls import certificates
from .modules import ModuleLoader
from .volumes import Volumes

if TYPE_CHECKING:  # httpcore is imported with the first module that makes calls
    from ..outbound.client import OutboundClient

logger = logging.getLogger("wagi_gateway")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Endpoint:
    """The target of a route: a compiled module, its entrypoint and the settings of its guests."""

    number: int
    """The index of its `[[module]]`, whose limits its routes share."""
    config: ModuleConfig
    module: WarmGuest
    entrypoint: str
    operator: Environ
    """The operator's environment variables."""
    volumes: tuple[GuestVolume, ...]
    document_root: DocumentRoot | None
    outbound: OutboundClient | None
    """The client of outbound calls; None for a module that imports no function for them."""
    image: str | None
    """The reference, with digest, of a module from a registry."""
    limits: Limits = field(init=False)
    """The limits of each guest."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "limits", self.config.limits)

    @property
    def source(self) -> str:
        """The module's origin: the file as configured, or the image reference with digest."""
        return self.image or self.config.module


class LogTarget(NamedTuple):
    """Where records go: the arguments of `observe.log.configure`."""

    settings: LogConfig
    directory: Path | None
    files: Mapping[str, Path]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, weakref_slot=True)
class Site:
    """Everything that a worker serves."""

    config: Config
    engine: wasmtime.Engine
    loader: ModuleLoader
    """The loader of `engine` and the modules, which the site of a reload continues."""
    hostname: Authority | None
    """`server.hostname`."""
    router: Router[Endpoint | StaticDirectory]
    behind_files: Router[Endpoint | StaticDirectory]
    """The routes without the published directories that have `fallback`: what answers a path that has no file there."""
    routes: list[tuple[RoutePattern, Endpoint]]
    """The routes of modules."""
    static: list[tuple[RoutePattern, StaticDirectory]]
    """The routes of published directories."""
    volumes: Volumes
    certificate: bytes | None
    """Certificate chain and private key in PEM, if the server terminates TLS."""
    log_directory: Path | None
    """The directory of the guests' standard error, if it goes to files."""
    log_files: Mapping[str, Path]
    """The file of the guests' standard error of each route whose module has one."""
    touch: Callable[[], None]
    """Marks the modules in the store as used, so that `cache prune` keeps them."""
    loads: Counter[tuple[str, str]]
    """How many modules came from each source, by metric name and label value."""
    warnings: list[Problem]

    @property
    def log(self) -> LogTarget:
        """The arguments of `observe.log.configure`."""
        return LogTarget(self.config.log, self.log_directory, self.log_files)

    def log_of(self, route: str) -> Path | None:
        """The file of the guests' standard error of a route, if it goes to one."""
        directory = self.log_directory
        return self.log_files.get(route) or (module_log(directory, route) if directory else None)

    def pinned(self, file: ConfigFile) -> ConfigFile:
        """The configuration for worker processes: it names the same image digests and temporary directories."""
        images = {endpoint.number: endpoint.image for _, endpoint in self.routes if endpoint.image}
        modules = tuple(
            module.model_copy(
                update={
                    "module": images.get(number, module.module),
                    "volumes": {guest: self._shared(volume) for guest, volume in module.volumes.items()},
                }
            )
            for number, module in enumerate(file.config.module)
        )
        return replace(file, config=file.config.model_copy(update={"module": modules}))

    def _shared(self, volume: VolumeConfig) -> VolumeConfig:
        if volume.temporary is None:
            return volume
        return VolumeConfig(path=self.volumes.temporary[volume.temporary].name, read_only=volume.read_only)

    def take_over_from(self, previous: Site, *, keep_all: bool = False) -> None:
        """Takes over the temporary directories that this site shares with the `previous` one, or all of them."""
        self.volumes.take_over(previous.volumes, keep_all=keep_all)

    def permissions(self) -> Iterator[tuple[str, str]]:
        """Pairs of a `[[module]]`'s route and a description of one of its `allowed_hosts`."""
        for module in self.config.module:
            for entry in map(AllowedHost.parse, module.allowed_hosts or ()):
                words = entry.describe(allow_private_networks=module.allow_private_networks)
                if self.config.outbound.proxy and not entry.is_exact and not module.allow_private_networks:
                    words = "addresses that are public, and no name, because outbound.proxy resolves it"
                yield module.route, f'"{redact_value(entry.text)}": {words}'

    def shared(self) -> Iterator[tuple[str, str, str]]:
        """A row for each volume: `may write` or `may read`, a `[[module]]`'s route, and the directory."""
        for module in self.config.module:
            for guest, volume in module.volumes.items():
                result = "may read" if volume.read_only else "may write"
                host = f"a temporary directory, {volume.temporary}" if volume.temporary else volume.path
                yield result, module.route, f'"{guest}": {host}'

    def served(self) -> ServedSite:
        """The site as the admin listener shows it."""
        endpoints: defaultdict[int, dict[str, Endpoint]] = defaultdict(dict)
        for pattern, endpoint in self.routes:
            endpoints[endpoint.number][pattern.text] = endpoint
        modules = tuple(self._served_module(number, endpoints[number]) for number, _ in enumerate(self.config.module))
        expirations = [one.not_after for one in certificates(self.certificate)] if self.certificate else []
        warnings = tuple(map(str, self.warnings))
        return ServedSite(modules, dict(self.loads), warnings, min(expirations, default=None))

    def _served_module(self, number: int, endpoints: dict[str, Endpoint]) -> ServedModule:
        config = self.config.module[number]
        routes = {text: endpoint.entrypoint for text, endpoint in endpoints.items()}
        endpoint = next(iter(endpoints.values()))
        logs = {text: str(log) for text in routes if (log := self.log_of(text))}
        return ServedModule(config.route, routes, endpoint.source, endpoint.module.digest, config.limits, logs)

    def close(self) -> None:
        """Closes outbound connections and volumes, and removes temporary directories. May be called twice.

        A failure is logged and raises nothing: the rest has to be closed, and the server or a reload goes on.
        """
        clients = [endpoint.outbound.close for _, endpoint in self.routes if endpoint.outbound]
        for close in (*clients, self.volumes.close):
            try:
                close()
            except Exception:
                logger.exception("a part of the site cannot be closed")


def release(sites: list[Site]) -> None:
    """Closes the one site in the list, frees it with its engine and modules, and returns the memory to the system.

    The list is emptied, and the caller keeps no other reference to the site. An exception of an earlier load may: its
    traceback holds frames that refer to the site, or to the store of modules and its descriptors, often in a reference
    cycle, which only the garbage collector frees.
    """
    site = sites.pop()
    site.close()
    remaining = weakref.ref(site)
    del site
    gc.collect()
    if remaining() is not None:
        logger.debug("a replaced site is still referred to; its engine and modules stay in memory")
    give_back()
