"""Loads a configuration into a site: every module compiled and test-run, every directory opened."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import tls
from ..cgi.request import Authority
from ..compiler.compiler import Compiler, OnCompile
from ..config.file import ConfigFile, cache_directory, log_directory, log_files
from ..config.settings import AdminConfig, ServerConfig, TracingConfig
from ..config.values import is_private
from ..errors import Problem, StartupError
from ..observe import tracing
from ..observe.metrics import LOADS, PULLS
from ..router import Router
from ..sources.modules import ModuleSources, is_image
from .endpoints import EndpointLoader
from .findings import Findings
from .modules import ModuleLoader
from .route_owners import RouteOwners
from .site import Site
from .static_routes import behind_files, check_fallbacks, document_roots, in_front, static_routes
from .trusted import TrustedFiles, trusted_files, warn_of_exchangeable
from .volumes import Volumes, open_volumes, with_devices

if TYPE_CHECKING:
    from ..sources.oci.puller import OnProgress


def load(
    file: ConfigFile,
    on_compile: OnCompile | None = None,
    on_pull: OnProgress | None = None,
    *,
    previous: Site | None = None,
    cancelled: threading.Event | None = None,
    has_source_lines: bool = False,
) -> Site:
    """Loads a site. Raises StartupError with every problem of the configuration, of its modules and directories.

    `previous` is the site to replace: engine, modules and temporary directories that are the same are reused. Setting
    `cancelled`, on any thread, ends a compilation and the load with LoadCancelled.

    With `has_source_lines` the frames of a trap have files, lines and columns, of modules with DWARF: for an author,
    not for an operator's log. A reload keeps the choice.
    """
    config = file.config
    findings = Findings(str(file.path), list(file.problems), list(file.warnings))
    directory, logs, own_logs = cache_directory(file), log_directory(file), log_files(file)
    loader = ModuleLoader(
        config,
        directory,
        findings,
        on_compile,
        previous.loader if previous else None,
        cancelled,
        has_source_lines=has_source_lines,
    )
    uses_cache = loader.cache is not None or any(is_image(module.module) for module in config.module)
    cache = directory if uses_cache else None
    sources = ModuleSources(config, file.base, directory, on_pull)
    _check_admin(config.admin, findings)
    _check_tracing(config.tracing, previous, findings)
    files = trusted_files(file, cache, logs)
    warn_of_exchangeable(files, findings)
    trusted = TrustedFiles(files)
    route_owners = RouteOwners()
    with closing(loader.compiler):
        routes = EndpointLoader(file, sources, loader, route_owners, findings).routes()
    static = list(static_routes(file, trusted, route_owners, findings))
    roots = document_roots(file, trusted, findings)
    certificate = _certificate(config.server, file.base, previous, findings)
    _check_logs(file, findings)
    route_owners.check()
    # Last, so that a start that is killed earlier leaves no temporary directory behind.
    volumes = Volumes(file.base, previous.volumes if previous else None)
    try:
        opened = open_volumes(file, volumes, trusted, findings)
        routes = [
            (
                pattern,
                replace(
                    endpoint,
                    volumes=with_devices(opened[endpoint.number], endpoint.module),
                    document_root=roots[endpoint.number],
                ),
            )
            for pattern, endpoint in routes
        ]
        behind = behind_files(list(routes), static)
        if not findings.problems:
            check_fallbacks(Router(behind), static, findings)
        warnings = [*findings.warnings, *sources.warnings, *(Problem("", text) for text in loader.compiler.warnings)]
        warnings = [file.as_given(warning) for warning in warnings]
        if findings.problems:
            raise StartupError(*map(file.as_given, findings.problems), warnings=warnings)
        loader.drop_previous()
        return Site(
            config=config,
            engine=loader.engine,
            loader=loader,
            hostname=Authority.parse(hostname.encode()) if (hostname := config.server.hostname) else None,
            router=Router(in_front(behind, static)),
            behind_files=Router(behind),
            routes=routes,
            static=static,
            volumes=volumes,
            certificate=certificate,
            log_directory=logs,
            log_files={pattern.text: log for pattern, one in routes if (log := own_logs.get(one.config.route))},
            touch=sources.toucher(),
            loads=_loads(loader.compiler, sources),
            warnings=warnings,
        )
    except BaseException:
        volumes.close()
        raise


def _loads(compiler: Compiler, sources: ModuleSources) -> Counter[tuple[str, str]]:
    loads = {(LOADS.name, source): count for source, count in compiler.loads.items()}
    return Counter(loads | {(PULLS.name, outcome): count for outcome, count in sources.pulls.items()})


def _check_admin(admin: AdminConfig, findings: Findings) -> None:
    if admin.listen and not is_private(admin.listen):
        what = f'admin.listen = "{admin.listen}": whoever reaches this address may look and reload; use 127.0.0.1'
        findings.warn(what)


def _check_tracing(settings: TracingConfig, previous: Site | None, findings: Findings) -> None:
    if previous and previous.config.tracing.export:
        # Already checked: the result depends only on the environment, which stays the same.
        return
    try:
        tracing.check(settings)
    except ValueError as error:
        findings.refuse(f"tracing.export = true: {error}")


def _certificate(server: ServerConfig, base: Path, previous: Site | None, findings: Findings) -> bytes | None:
    if previous and (previous.certificate is None) != (server.tls_cert is None):
        findings.refuse("server.tls_cert: whether the socket speaks TLS cannot change before a restart")
    if server.tls_cert is None and server.tls_key is None:
        return None
    try:
        pem = tls.read(server, base)
    except StartupError as error:
        for problem in error.problems:
            findings.refuse(problem.what)
        return None
    for certificate in tls.certificates(pem):
        if fault := certificate.fault(time.time()):
            findings.warn(f'server.tls_cert = "{server.tls_cert}": {fault}')
    return pem


def _check_logs(file: ConfigFile, findings: Findings) -> None:
    """Refuses unusable directories of logs. Creates nothing: `check` may run as another user than `serve`."""
    directory = log_directory(file)
    if directory and (fault := _unusable(directory)):
        what = f'log.directory = "{file.config.log.directory}": {fault}'
        findings.refuse(f"{what}; name another one, or change its owner")
    for number, module in enumerate(file.config.module):
        path = log_files(file).get(module.route)
        if path and (fault := f"{path} is a directory" if path.is_dir() else _unusable(path.parent)):
            what = f'log_file = "{module.log_file}": {fault}'
            here = findings.at(file.where(number))
            here.refuse(f"{what}; name another file, or change the owner of its directory")


def _unusable(directory: Path) -> str | None:
    """Why no file can be written in a directory that exists, or can be made; else None."""
    try:
        nearest_existing = next(path for path in (directory, *directory.parents) if path.exists())
        if nearest_existing.is_dir() and os.access(nearest_existing, os.W_OK | os.X_OK):
            return None
        fault = f"cannot be written by user {os.geteuid()}" if nearest_existing.is_dir() else "is no directory"
        return f"{nearest_existing} {fault}"
    except OSError as error:
        return f"cannot be used: {error.strerror}"
