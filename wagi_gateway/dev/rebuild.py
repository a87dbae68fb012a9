"""The loop of `dev`: a change of files leads to builds and a reload, the latest change wins."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from ..compiler.compilation import start_early
from ..config.file import ConfigFile
from ..config.settings import BuildConfig
from ..errors import StartupError
from .builds import Builds
from .watch import Changes, WatchedFiles, changed_paths

Notify = Callable[[str, float], None]
"""Takes what happened and the seconds that it took."""


class Rebuilder:
    """Builds and reloads, one at a time. A change during a build cancels the build, whose modules are built anew."""

    def __init__(
        self,
        read: Callable[[], ConfigFile],
        builds: Builds,
        reload: Callable[[], Awaitable[object]],
        *,
        files: Iterable[Path],
        notify: Notify = lambda _text, _seconds: None,
        on_change: Callable[[], object] = lambda: None,
    ) -> None:
        """`reload` serves what `read` reads, or raises StartupError; `files` are those of the configuration.

        `on_change` is called when a page in the browser would look different."""
        self._read = read
        self._builds = builds
        self._reload = reload
        self._files = tuple(files)
        self._notify = notify
        self._on_change = on_change
        self._pending: set[str] = set()
        """Routes of the modules whose sources are newer than their last build."""
        self._commands: dict[str, BuildConfig] = {}
        """The builds as they were last executed, by route."""
        self._watched = WatchedFiles.of(None, self._files)
        self._task: asyncio.Task[None] | None = None

    async def watch(self) -> None:
        """Watches the files until it is cancelled."""
        self._commands = commands(self._load_watched())
        try:
            while True:
                directories, trees = self._watched.directories, self._watched.trees
                async with contextlib.aclosing(changed_paths(directories, trees)) as groups:
                    async for paths in groups:
                        await self._see(self._watched.changes(paths))
                        if (self._watched.directories, self._watched.trees) != (directories, trees):
                            break
        finally:
            await self.close()

    async def _see(self, found: Changes) -> None:
        is_building = self._task is not None and not self._task.done()
        # A build writes its module while it runs; the reload after the build reads it.
        if found.build or found.config or (found.modules and not is_building):
            await self.rebuild(found)
        elif found.volumes:
            self._notify(f"changed: {', '.join(sorted(found.volumes))}", 0.0)
            self._on_change()

    def _load_watched(self) -> ConfigFile | None:
        try:
            file = self._read()
        except StartupError:  # the next version of the file is waited for
            file = None
        self._watched = WatchedFiles.of(file, self._files)
        return file

    async def rebuild(self, found: Changes) -> None:
        """Starts the builds of these changes, and a reload after them."""
        self._pending |= found.build
        await self.close()
        self._task = asyncio.create_task(self._run())

    async def build_all(self) -> None:
        """Builds every module and reloads; returns at the end of that, or of the rebuild that overtakes it."""
        with contextlib.suppress(StartupError):
            self._pending |= commands(self._read()).keys()
        await self.rebuild(Changes(config=True))
        while (task := self._task) and not task.done():
            await asyncio.wait([task])

    async def close(self) -> None:
        """Cancels the running build."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        await self._build_and_reload()
        self._on_change()

    async def _build_and_reload(self) -> None:
        started = time.perf_counter()
        builds = self._builds
        try:
            file = self._read()
            before, self._commands = self._commands, commands(file)
            self._pending |= {route for route, build in self._commands.items() if build != before.get(route)}
            with contextlib.suppress(OSError):  # the compilation tries again, and says why it cannot
                start_early()
            if not await builds.run(file, set(self._pending)):
                self._notify(
                    "the build has failed; the module of before is still served", time.perf_counter() - started
                )
                return
            self._pending.clear()
            self._load_watched()
            await self._reload()
        except StartupError as error:
            builds.problems = error.problems
            self._notify("not reloaded; what was served before still is", time.perf_counter() - started)
            return
        builds.problems = ()
        builds.count += 1
        self._notify("reloaded", time.perf_counter() - started)


def commands(file: ConfigFile | None) -> dict[str, BuildConfig]:
    """The builds of a configuration by route; none for one that cannot be read."""
    return {module.route: module.build for module in file.config.module if module.build} if file else {}
