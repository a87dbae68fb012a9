"""The files that `dev` watches, and what a change of each of them asks for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..build.watch import WatchPatterns
from ..config.file import ConfigFile
from ..sources.file import resolve
from ..sources.modules import is_image

logger = logging.getLogger("wagi_gateway")

DEBOUNCE = 50
"""Milliseconds without a change after which a group of changes is complete."""
_LONGEST = 2000
"""Milliseconds after which a group is complete although changes go on."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a group of changed files asks for."""

    build: frozenset[str] = frozenset()
    """Routes of the modules to build."""
    config: bool = False
    """Whether a file of the configuration has changed."""
    modules: bool = False
    """Whether the file of a module has changed since the last load."""
    volumes: frozenset[str] = frozenset()
    """Routes of the modules with a changed file in a volume, and of the directories with a changed file."""

    def __bool__(self) -> bool:
        return bool(self.build or self.config or self.modules or self.volumes)


_Stamp = tuple[int, int, int] | None
"""Inode, size and modification time in nanoseconds; None for a file that does not exist."""


@dataclass(frozen=True, slots=True)
class WatchedFiles:
    """The files of one configuration."""

    config: dict[Path, _Stamp]
    """The files of the configuration, with their stamps at the last load."""
    modules: dict[Path, _Stamp] = field(default_factory=dict)
    builds: tuple[tuple[str, Path, WatchPatterns], ...] = ()
    """Route, directory and patterns of each build."""
    volumes: tuple[tuple[str, Path], ...] = ()

    @classmethod
    def of(cls, file: ConfigFile | None, files: Iterable[Path]) -> WatchedFiles:
        """The files of a configuration, None for one that cannot be read, with its own `files`."""
        config = {path: _stamp(path) for path in (one.resolve() for one in files)}
        if file is None:
            return cls(config)
        base = file.base.resolve()
        builds = [
            (one.route, (base / one.build.directory).resolve(), WatchPatterns(one.build.watch))
            for one in file.config.module
            if one.build
        ]
        volumes = [
            (one.route, (base / volume.path).resolve())
            for one in file.config.module
            for volume in one.volumes.values()
            if volume.path
        ]
        volumes += [(one.route, (base / one.directory).resolve()) for one in file.config.static]
        modules = {path: _stamp(path) for path in (one.resolve() for one in _module_files(file))}
        return cls(config, modules, tuple(builds), tuple(volumes))

    @property
    def trees(self) -> set[Path]:
        """The directories that are watched with all below them."""
        found = {directory for _, directory, _ in self.builds} | {directory for _, directory in self.volumes}
        return {directory for directory in found if directory.is_dir()}

    @property
    def directories(self) -> set[Path]:
        """The directories that are watched by themselves."""
        return {path.parent for path in (*self.config, *self.modules) if path.parent.is_dir()}

    def changes(self, paths: Iterable[Path]) -> Changes:
        """What a change of these paths asks for."""
        paths = list(paths)
        build = {
            route
            for route, directory, patterns in self.builds
            for path in paths
            if path.is_relative_to(directory) and patterns.matches(path.relative_to(directory))
        }
        volumes = {route for route, directory in self.volumes for path in paths if path.is_relative_to(directory)}
        return Changes(
            frozenset(build),
            any(_is_new(path, self.config) for path in paths),
            any(_is_new(path, self.modules) for path in paths),
            frozenset(volumes) - build,
        )


def _is_new(path: Path, known: dict[Path, _Stamp]) -> bool:
    """Whether a file is another than when the configuration was loaded: events of that version may come later."""
    return path in known and _stamp(path) != known[path]


async def changed_paths(directories: Iterable[Path], trees: Iterable[Path]) -> AsyncGenerator[set[Path], None]:
    """The groups of changed files in `directories`, and at any depth of `trees`, as they happen.

    Where the system has no watch left (inotify(7), `max_user_watches`) the files are compared every 300 ms.
    """
    import watchfiles

    async def follow(found: set[Path], *, recursive: bool, force_polling: bool | None = None) -> None:
        async for group in watchfiles.awatch(
            *found,
            watch_filter=None,
            step=DEBOUNCE,
            debounce=_LONGEST,
            recursive=recursive,
            stop_event=stop,
            ignore_permission_denied=True,
            force_polling=force_polling,
        ):
            queue.put_nowait({Path(path) for _, path in group})

    async def follow_anyway(found: set[Path], *, recursive: bool) -> None:
        try:
            await follow(found, recursive=recursive)
        except (OSError, RuntimeError) as error:
            logger.warning("files are compared every 300 ms, because they cannot be watched: %s", error)
            await follow(found, recursive=recursive, force_polling=True)

    stop = asyncio.Event()
    queue: asyncio.Queue[set[Path]] = asyncio.Queue()
    trees = set(trees)
    flat = set(directories) - trees
    tasks = [
        asyncio.create_task(follow_anyway(found, recursive=deep))
        for found, deep in ((trees, True), (flat, False))
        if found
    ]
    try:
        while True:
            yield await queue.get()
    finally:
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _module_files(file: ConfigFile) -> Iterator[Path]:
    for module in file.config.module:
        if not is_image(module.module):
            try:
                yield resolve(module.module, file.base).path
            except ValueError:
                continue


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
