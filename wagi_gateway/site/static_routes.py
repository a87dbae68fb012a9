"""Published directories: the routes of `[[static]]` tables, the document roots of modules, and the check that neither
holds a private file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..config.file import ConfigFile
from ..config.settings import DocumentRootConfig, ModuleConfig, StaticConfig
from ..http.document_root import DocumentRoot
from ..http.static import StaticDirectory
from ..router import RoutePattern, Router
from .doubtful_settings import warn_of_doubtful_route
from .findings import Findings
from .route_owners import RouteOwners, read_pattern
from .site import Endpoint
from .trusted import TooManyEntries, TrustedFiles

Routes = list[tuple[RoutePattern, "Endpoint | StaticDirectory"]]


def static_routes(
    file: ConfigFile, trusted: TrustedFiles, route_owners: RouteOwners, findings: Findings
) -> Iterator[tuple[RoutePattern, StaticDirectory]]:
    """The routes of the `[[static]]` tables, whose directories hold no secret one of the `trusted` files."""
    in_front_owners = RouteOwners()
    for number, config in enumerate(file.config.static):
        owner = f"[[static]] {number + 1}"
        here = findings.at(f"{file.path}: {owner} ({config.route})")
        warn_of_doubtful_route(config.route, here)
        pattern = read_pattern(config.route, here)
        directory = file.base.absolute() / config.directory
        _check_directory(f'directory = "{config.directory}"', directory, trusted, here)
        if pattern:
            (in_front_owners if config.fallback else route_owners).add(here, owner, pattern)
            yield pattern, StaticDirectory(config, directory)
    in_front_owners.check()


def behind_files(routes: Routes, static: list[tuple[RoutePattern, StaticDirectory]]) -> Routes:
    """All routes but the published directories that have `fallback`."""
    return [*routes, *((pattern, one) for pattern, one in static if not one.config.fallback)]


def in_front(behind: Routes, static: list[tuple[RoutePattern, StaticDirectory]]) -> Routes:
    """The routes of `behind_files`, each published directory that has `fallback` in front of its own."""
    fallbacks = [(pattern, one) for pattern, one in static if one.config.fallback]
    taken = {pattern.key for pattern, _ in fallbacks}
    return [*(route for route in behind if not route[0].is_prefix or route[0].key not in taken), *fallbacks]


def check_fallbacks(
    behind: Router[Endpoint | StaticDirectory],
    static: list[tuple[RoutePattern, StaticDirectory]],
    findings: Findings,
) -> None:
    """Refuses a `fallback` to nothing."""
    for pattern, one in static:
        if one.config.fallback and behind.match(pattern.key) is None:
            findings.refuse(f"[[static]] ({pattern.text}): fallback = true, but no other route answers there; add one")


def document_roots(file: ConfigFile, trusted: TrustedFiles, findings: Findings) -> list[DocumentRoot | None]:
    """The document root of each `[[module]]`, which holds no secret one of the `trusted` files; None without one."""
    return [
        _document_root(file, module, module.document_root, trusted, findings.at(file.where(number)))
        if module.document_root
        else None
        for number, module in enumerate(file.config.module)
    ]


def _document_root(
    file: ConfigFile, module: ModuleConfig, config: DocumentRootConfig, trusted: TrustedFiles, findings: Findings
) -> DocumentRoot:
    volume = file.base.absolute() / (module.volumes[module.document_root_volume].path or "")
    # Without the links on the way to the volume, which was opened, too: scripts and files are those of one directory.
    directory = volume.resolve() / module.path_in_volume
    key = f'document_root = "{config.path}"'
    _check_directory(key, directory, trusted, findings)
    script = config.front_controller
    if script and not (directory / script).is_file():
        findings.refuse(f'document_root.front_controller = "{script}": there is no file {directory / script}')
    if not script and not module.route.endswith("/..."):
        findings.refuse(f'{key}: its scripts are below the route; write route = "{module.route.rstrip("/")}/..."')
    files = StaticConfig(
        route="/...", directory=config.path, cache_control=config.cache_control, charset=config.charset
    )
    return DocumentRoot(config, StaticDirectory(files, directory), module.guest_document_root)


def _check_directory(key: str, directory: Path, trusted: TrustedFiles, findings: Findings) -> None:
    try:
        os.listdir(directory)
        private = list(_private_files(directory.resolve(), trusted))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        findings.refuse(f"{key}: cannot be read: {reason}")
        return
    for what in private:
        findings.refuse(f"{key}: {what}, which everybody could read")


def _private_files(directory: Path, trusted: TrustedFiles) -> Iterator[str]:
    """What keeps a directory, an absolute path without symbolic links, from being published."""
    yield from (f"it holds {file.name}" for file in trusted.held_by(directory, secrets=True))
    if file := trusted.around(directory, secrets=True):
        yield f"it lies in {file.name}"
    try:
        if file := trusted.linked_in(directory, secrets=True):
            yield f"it holds a hard link of {file.name}"
    except TooManyEntries as error:
        yield f"it holds too many entries to search it for a hard link of {error.file.name}"
