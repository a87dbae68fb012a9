"""The routes of `[[static]]` tables, and the check that their directories hold no private file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..config.file import ConfigFile
from ..config.settings import StaticConfig
from ..http.static import StaticDirectory
from ..router import RoutePattern
from .findings import Findings
from .route_owners import RouteOwners, read_pattern


def static_routes(
    file: ConfigFile, cache: Path | None, logs: Path | None, route_owners: RouteOwners, findings: Findings
) -> Iterator[tuple[RoutePattern, StaticDirectory]]:
    """The routes of the `[[static]]` tables. `cache` and `logs` are directories of the server, None if unused."""
    private = list(_private_files(file, cache, logs))
    for number, config in enumerate(file.config.static):
        owner = f"[[static]] {number + 1}"
        here = findings.at(f"{file.path}: {owner} ({config.route})")
        pattern = read_pattern(config.route, here)
        directory = file.base.absolute() / config.directory
        _check_directory(config, directory, private, here)
        if pattern:
            route_owners.add(here, owner, pattern)
            yield pattern, StaticDirectory(config, directory)


def _check_directory(
    config: StaticConfig, directory: Path, private: list[tuple[str, Path]], findings: Findings
) -> None:
    key = f'directory = "{config.directory}"'
    try:
        os.listdir(directory)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        findings.refuse(f"{key}: cannot be read: {reason}")
    for what, path in private:
        if path.resolve().is_relative_to(directory.resolve()):
            findings.refuse(f"{key}: it holds {what}, which everybody could read")


def _private_files(file: ConfigFile, cache: Path | None, logs: Path | None) -> Iterator[tuple[str, Path]]:
    """Descriptions and paths of the files and directories that must not be published."""
    yield "this file", file.path.absolute()
    if file.settings:
        yield str(file.settings), file.settings.absolute()
    if cache:
        yield "the cache", cache
    if logs:
        yield "the logs (log.directory)", logs
    server = file.config.server
    keys = {"server.tls_key": server.tls_key or server.tls_cert, "auth_file": file.config.auth_file}
    keys |= {f"registries.{host}.password_file": one.password_file for host, one in file.config.registries.items()}
    for name, path in keys.items():
        if path:
            yield name, file.base.absolute() / path
