"""The builds of a configuration's modules: their latest results, and what keeps the site from being replaced."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from ..build.module_builds import module_builds
from ..build.runner import Build
from ..config.file import ConfigFile
from ..errors import Problem, StartupError

_NOT_STARTED = 127
"""Exit code of a command that cannot be started, as in a shell."""
MAX_OUTPUT = 256 * 1024
"""Bytes of a build's output that are kept: the last ones."""

OnOutput = Callable[[str, bytes], None]
"""Takes the route of a build and a piece of its output."""


@dataclass(slots=True, eq=False)
class BuildResult:
    """The latest build of one `[[module]]`, or of several with the same build."""

    route: str
    """The route, or the routes separated by commas."""
    command: str
    began: float = field(default_factory=time.time)
    seconds: float | None = None
    """None while the build runs, and for a build that was cancelled."""
    code: int | None = None
    output: bytearray = field(default_factory=bytearray)

    @property
    def has_failed(self) -> bool:
        """Whether the build has ended with another exit code than 0."""
        return self.code not in (None, 0)

    def add(self, data: bytes) -> None:
        """Adds a piece of output; the oldest bytes beyond MAX_OUTPUT are dropped."""
        self.output += data
        del self.output[:-MAX_OUTPUT]


class Builds:
    """The results by route, and the problems of the last load."""

    def __init__(self, on_output: OnOutput, on_change: Callable[[BuildResult], None] = lambda _result: None) -> None:
        """`on_change` is called at the begin and the end of each build."""
        self.results: dict[str, BuildResult] = {}
        self.problems: tuple[Problem, ...] = ()
        """Why the configuration could not be served after the last builds."""
        self.count = 0
        """Builds and loads that have succeeded; a recording has the number of its time."""
        self.on_change = on_change
        self._on_output = on_output

    @property
    def failed(self) -> list[BuildResult]:
        """The builds whose latest run has failed."""
        return [result for result in dict.fromkeys(self.results.values()) if result.has_failed]

    @property
    def is_broken(self) -> bool:
        """Whether the latest sources are not what is served."""
        return bool(self.problems or self.failed)

    async def run(self, file: ConfigFile, only: AbstractSet[str] | None = None) -> bool:
        """Builds the modules with these routes, or all of them, in the file's order, up to the first failure.

        Returns whether every build has succeeded. Cancelling the call cancels the running build.
        """
        routes = {module.route for module in file.config.module if module.build}
        self.results = {route: result for route, result in self.results.items() if route in routes}
        for one in module_builds(file):
            if only is None or not only.isdisjoint(one.routes):
                result = BuildResult(", ".join(one.routes), str(one.build))
                self.results |= dict.fromkeys(one.routes, result)
                await self._run(one.build, result)
                if result.has_failed:
                    return False
        return not self.failed

    async def run_first(self, file: ConfigFile) -> int:
        """Builds all modules; returns the number of the signal that ended the build with its processes, or else 0."""
        received: list[int] = []
        task = asyncio.ensure_future(self.run(file))

        def end(number: int) -> None:
            received.append(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, end, number)
        await asyncio.wait([task])
        if not received:
            task.result()
        return received[0] if received else 0

    async def _run(self, build: Build, result: BuildResult) -> None:
        def on_output(data: bytes) -> None:
            result.add(data)
            self._on_output(result.route, data)

        self.on_change(result)
        started = time.perf_counter()
        problem = ""
        try:
            code = await build.run(on_output)
        except StartupError as error:
            code, problem = _NOT_STARTED, str(error)
        if code and (missing := await asyncio.to_thread(build.missing_tool)):
            problem = f"{missing.what}; {missing.install}"
        if problem:
            on_output(f"{problem}\n".encode())
        result.code = code
        result.seconds = time.perf_counter() - started
        self.on_change(result)
