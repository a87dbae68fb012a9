"""The routes of `[[static]]` tables, and the check that their directories hold no private file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..config.file import ConfigFile
from ..config.settings import StaticConfig
from ..http.static import StaticDirectory
from ..router import RoutePattern
from .doubtful_settings import warn_of_doubtful_route
from .findings import Findings
from .route_owners import RouteOwners, read_pattern
from .trusted import TooManyEntries, TrustedFiles


def static_routes(
    file: ConfigFile, trusted: TrustedFiles, route_owners: RouteOwners, findings: Findings
) -> Iterator[tuple[RoutePattern, StaticDirectory]]:
    """The routes of the `[[static]]` tables, whose directories hold no secret one of the `trusted` files."""
    for number, config in enumerate(file.config.static):
        owner = f"[[static]] {number + 1}"
        here = findings.at(f"{file.path}: {owner} ({config.route})")
        warn_of_doubtful_route(config.route, here)
        pattern = read_pattern(config.route, here)
        directory = file.base.absolute() / config.directory
        _check_directory(config, directory, trusted, here)
        if pattern:
            route_owners.add(here, owner, pattern)
            yield pattern, StaticDirectory(config, directory)


def _check_directory(config: StaticConfig, directory: Path, trusted: TrustedFiles, findings: Findings) -> None:
    key = f'directory = "{config.directory}"'
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
