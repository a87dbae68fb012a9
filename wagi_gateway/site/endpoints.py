"""The endpoints of `[[module]]` tables: reads, compiles and test-runs each module and finds its entrypoints."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING

from ..compiler.component import WarmComponent
from ..compiler.warm_module import WarmGuest
from ..config.file import ConfigFile
from ..config.settings import ModuleConfig
from ..errors import MAX_PROBLEMS, StartupError, redact_value
from ..outbound.policy import Policy
from ..outbound.proxy import Proxy
from ..router import RoutePattern
from ..sandbox.experimental_http import MODULE as OUTBOUND_IMPORT
from ..sources.file import WasmSource
from ..sources.modules import ModuleSources, is_image
from ..sources.oci.errors import RegistryError
from ..tls import create_context
from .doubtful_settings import warn_of_doubtful_settings
from .findings import Findings
from .modules import ModuleLoader
from .route_owners import RouteOwners, read_pattern
from .site import Endpoint

if TYPE_CHECKING:  # httpcore is imported with the first module that makes calls
    from ..outbound.client import OutboundClient


_MAX_OFFERED, _MAX_NAME = 1000, 200
"""Functions of a module that are compared with an entrypoint that the module lacks, and characters of their names. A
module may have a million functions, and the time of a comparison grows with the square of a name."""


class EndpointLoader:
    """Loads the endpoints of a configuration. A faulty module is a finding, and the next one is loaded."""

    def __init__(
        self,
        file: ConfigFile,
        sources: ModuleSources,
        loader: ModuleLoader,
        route_owners: RouteOwners,
        findings: Findings,
    ) -> None:
        self._file = file
        self._config = file.config
        self._sources = sources
        self._loader = loader
        self._route_owners = route_owners
        self._findings = findings

    def routes(self) -> list[tuple[RoutePattern, Endpoint]]:
        """Every endpoint with its route. The caller adds volumes and document roots."""
        if self._config.outbound.ca_file:
            self._ssl_context  # noqa: B018 - an invalid file is a problem even without outbound calls
        return [route for number, _ in enumerate(self._config.module) for route in self._module_routes(number)]

    def _module_routes(self, number: int) -> Iterator[tuple[RoutePattern, Endpoint]]:
        """The routes of one `[[module]]`: its own, and those that its `_routes` prints."""
        config, owner = self._config.module[number], f"[[module]] {number + 1}"
        findings = self._findings.at(self._file.where(number))
        warn_of_doubtful_settings(config, self._config, findings)
        pattern = read_pattern(config.route, findings)
        source = self._source(config, findings)
        module = self._module(config, source, findings) if source else None
        if pattern is None or source is None or module is None or not self._instantiates(config, module, findings):
            if pattern:
                self._route_owners.add(findings, owner, pattern)
            return
        printed = list(self._printed_routes(config, module, pattern, findings))
        if _has_entrypoint(module, "entrypoint", config.entrypoint, findings, is_needed=not printed):
            printed.insert(0, (pattern, config.entrypoint))
        outbound = self._outbound(config) if OUTBOUND_IMPORT in module.imports else None
        operator = {
            name.encode(): value.encode() for name, value in (self._config.environment | config.environment).items()
        }
        # If `_routes` prints a route twice, the last counts; a printed route also replaces the module's own
        # entry for it.
        for route, entrypoint in dict(printed).items():
            self._route_owners.add(findings, owner, route)
            yield (
                route,
                Endpoint(
                    number=number,
                    config=config,
                    module=module,
                    entrypoint=entrypoint,
                    operator=operator,
                    volumes=(),
                    document_root=None,
                    outbound=outbound,
                    image=source.image,
                ),
            )

    def _source(self, config: ModuleConfig, findings: Findings) -> WasmSource | None:
        key = f'module = "{redact_value(config.module)}"'
        try:
            source, warnings = self._sources.read(config)
        except StartupError as error:
            for problem in error.problems:
                findings.refuse(f"{key}: {problem.what}")
        except RegistryError as error:
            findings.refuse(f"{key}: {error.what}")
        except ValueError as error:
            # A malformed reference may hold a password: only the error's own words are shown.
            what = "module" if is_image(config.module) else key
            findings.refuse(f"{what}: {error}")
        else:
            for warning in warnings:
                findings.warn(f"{key}: {warning}")
            return source
        return None

    def _module(self, config: ModuleConfig, source: WasmSource, findings: Findings) -> WarmGuest | None:
        try:
            module = self._loader.compiler.load(
                source,
                has_files=bool(config.volumes),
                needs_entrypoint=True,
                allows_missing=config.missing_imports == "trap",
            )
            if config.missing_imports == "trap":
                _warn_of_missing(module, findings)
            return module
        except StartupError as error:
            for problem in error.problems:
                findings.refuse(f'module = "{config.module}": {problem.what}')
            return None

    def _instantiates(self, config: ModuleConfig, module: WarmGuest, findings: Findings) -> bool:
        failure = self._loader.check_instantiates(module, config.limits)
        if failure is not None:
            findings.refuse(f'module = "{config.module}": cannot be instantiated: {failure}')
        return failure is None

    def _printed_routes(
        self, config: ModuleConfig, module: WarmGuest, parent: RoutePattern, findings: Findings
    ) -> Iterator[tuple[RoutePattern, str]]:
        if "_routes" not in module.functions:
            return
        printed = self._loader.print_routes(module, config.limits, config.route)
        for problem in printed.problems:
            findings.refuse(f"_routes: {problem}")
        most = len(findings.problems) + MAX_PROBLEMS
        for path, entrypoint in printed.routes:
            if len(findings.problems) >= most:
                return
            pattern = read_pattern(path, findings.at(f"{findings.where}: _routes"), parent)
            if pattern and _has_entrypoint(module, f"_routes {path}", entrypoint, findings):
                yield pattern, entrypoint

    def _outbound(self, config: ModuleConfig) -> OutboundClient:
        # The session is for the requests, the first of which would wait for its import.
        from ..outbound import session  # noqa: F401
        from ..outbound.client import OutboundClient

        hosts = config.allowed_hosts or ()
        proxy = self._config.outbound.proxy
        return OutboundClient(
            Policy(
                hosts,
                allow_private_networks=config.allow_private_networks,
                public_only=config.public_addresses_only,
            ),
            config.limits,
            config.http_max_concurrency,
            ssl_context=self._ssl_context if hosts else None,
            proxy=Proxy.parse(proxy.get_secret_value()) if proxy else None,
        )

    @functools.cached_property
    def _ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context of outbound calls; None, with a problem, for an invalid `outbound.ca_file`."""
        ca_file = self._config.outbound.ca_file
        try:
            return create_context(self._file.base / ca_file if ca_file else None)
        except ValueError as error:
            self._findings.refuse(f'outbound.ca_file = "{ca_file}": {error}')
            return None


def _warn_of_missing(module: WarmGuest, findings: Findings) -> None:
    """Names each imported function that traps, up to the hundredth."""
    key = 'missing_imports = "trap"'
    if isinstance(module, WarmComponent):
        findings.warn(f"{key}: {module.name} is a component, whose missing imports are refused; remove the key")
        return
    for wanted in module.missing[:MAX_PROBLEMS]:
        findings.warn(f"{key}: a call of {wanted.module}.{wanted.name} traps, because this gateway does not provide it")
    if len(module.missing) > MAX_PROBLEMS:
        findings.warn(f"{key}: calls of {len(module.missing) - MAX_PROBLEMS} more functions trap")
    if not module.missing:
        findings.warn(f"{key}: no import of {module.name} is missing; remove the key")


def _has_entrypoint(
    module: WarmGuest, key: str, entrypoint: str, findings: Findings, *, is_needed: bool = True
) -> bool:
    if entrypoint in module.functions:
        return True
    if entrypoint in module.exports:
        what = "is exported, but takes values, or returns more than an exit code (i32); an entrypoint does neither"
    else:
        offered = sorted(islice((name for name in module.exports if name in module.functions), _MAX_OFFERED))
        close = get_close_matches(entrypoint[:_MAX_NAME], (name for name in offered if len(name) <= _MAX_NAME), n=1)
        offers = ", ".join(offered) or "no function without parameters that returns nothing or an exit code (i32)"
        hint = f"did you mean {close[0]}?" if close else f"{module.name} exports {offers}"
        what = f"there is no such export; {hint}"
    problem = f'{key} = "{entrypoint}": {what}'
    if is_needed:
        findings.refuse(problem)
    else:
        findings.warn(f"{problem}; only its _routes are served")
    return False
