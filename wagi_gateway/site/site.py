"""What a worker serves: every route with its warm module, and what its guests are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import wasmtime

from ..cgi.environ import Environ
from ..cgi.request import Authority
from ..compiler.compiler import WarmModule
from ..config.file import ConfigFile
from ..config.settings import Config, Limits, LogConfig, ModuleConfig, VolumeConfig
from ..errors import Problem
from ..http.static import StaticDirectory
from ..memory import give_back
from ..outbound.client import OutboundClient
from ..outbound.policy import AllowedHost
from ..router import RoutePattern, Router
from ..sandbox.invocation import GuestVolume
from .modules import ModuleLoader
from .volumes import Volumes


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
    volumes: tuple[GuestVolume, ...]
    outbound: OutboundClient | None
    """What its guests call out through; None for a module that does not know how to."""
    image: str | None
    """The pinned reference of a module that came from a registry."""

    @property
    def source(self) -> str:
        """Where the module came from: the file, or the reference with the digest it stands for."""
        return self.image or self.config.module

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
    router: Router[Endpoint | StaticDirectory]
    routes: list[tuple[RoutePattern, Endpoint]]
    warnings: list[Problem] = field(default_factory=list)
    volumes: Volumes | None = None
    """The directories that are open for guests."""
    loader: ModuleLoader | None = None
    touch: Callable[[], None] = lambda: None
    """Notes that its modules are in use, so that nobody removes them from the store."""
    loads: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Where its modules have come from: the name of a metric, and the value of its label."""

    certificate: bytes | None = None
    """Certificate and key of the server, where it speaks TLS itself."""
    static: list[tuple[RoutePattern, StaticDirectory]] = field(default_factory=list)
    """The directories whose files are served."""
    log_directory: Path | None = None
    """Where guests' standard error goes, if it goes to files."""

    @property
    def log(self) -> tuple[LogConfig, Path | None]:
        """What the log is configured with."""
        return self.config.log, self.log_directory

    def pinned(self, file: ConfigFile) -> ConfigFile:
        """The same configuration for other processes: with the very modules and temporary directories of this site."""
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
        if volume.temporary is None or self.volumes is None:
            return volume
        return VolumeConfig(path=self.volumes.temporary[volume.temporary].name, read_only=volume.read_only)

    def succeed(self, before: Site, *, keep_all: bool = False) -> None:
        """It is served in place of the one before, and takes over the temporary directories that both have, or all."""
        if self.volumes and before.volumes:
            self.volumes.take_over(before.volumes, keep_all=keep_all)

    def permissions(self) -> Iterator[tuple[str, str]]:
        """What the guests of each `[[module]]` may call, in words: its route and one thing it may call."""
        for module in self.config.module:
            for entry in map(AllowedHost.parse, module.allowed_hosts or ()):
                words = entry.describe(allow_private_networks=module.allow_private_networks)
                if self.config.outbound.proxy and not entry.is_exact and not module.allow_private_networks:
                    words = "addresses that are public, and no name, because outbound.proxy resolves it"
                yield module.route, f'"{entry.text}": {words}'

    def release(self) -> None:
        """Closes it, and forgets engine and modules: another site is served, but somebody may still know this one."""
        self.close()
        del self.engine, self.router, self.routes, self.loader
        give_back()

    def close(self) -> None:
        """Closes the connections its guests have used and its volumes, and removes the temporary ones."""
        for _, endpoint in self.routes:
            if endpoint.outbound:
                endpoint.outbound.close()
        if self.volumes:
            self.volumes.close()
