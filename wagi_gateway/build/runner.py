"""The run of a build command, in a process group of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
from asyncio.subprocess import Process
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..config.settings import BuildConfig
from ..errors import Problem, StartupError

OnOutput = Callable[[bytes], None]
"""Takes the next piece of the output, at most 64 KiB: standard output and error in the order of their writes."""

_PIECE = 65536
"""Bytes of one read, and of a pipe."""
_LAST_PIECES = 16
"""Pieces that are read after the command's end; a process that it left behind may write for ever."""


class Build:
    """The build of one module: its command and working directory. Each run starts the command anew."""

    def __init__(self, config: BuildConfig, base: Path, *, grace: float = 2.0) -> None:
        """`base` is the directory of the configuration; `grace` the seconds between SIGTERM and SIGKILL."""
        self.command = config.command
        self.directory = base.absolute() / config.directory
        self._grace = grace

    def __str__(self) -> str:
        """The command, as a shell reads it."""
        return shlex.join(self.command)

    async def run(self, on_output: OnOutput | None = None) -> int:
        """Runs the command to its end; returns the exit code, or the negative number of the signal that ended it.

        The output goes to `on_output`, or unchanged to this process's own standard output and error. The command reads
        nothing from standard input. A cancelled run ends the process group, first with SIGTERM, then with SIGKILL.
        Raises StartupError if the command cannot be started.
        """
        self._check()
        if on_output is None:
            return await self._run(None)
        with _pipe(on_output) as output:
            return await self._run(output)

    def _check(self) -> None:
        if not self.directory.is_dir():
            raise StartupError(Problem("build.directory", f"there is no directory {self.directory}"))
        program = self.command[0]
        # As in execvp: a name with a slash is a path, which starts in the working directory.
        found = shutil.which(self.directory / program) if "/" in program else shutil.which(program)
        if not found:
            where = f"no program at {self.directory / program}" if "/" in program else f"no program {program} in PATH"
            raise StartupError(Problem("build.command", f"there is {where}; install it or change the command"))

    async def _run(self, output: int | None) -> int:
        # A cancellation between fork and exec finds no process to end yet.
        starting = asyncio.create_task(self._start(output))
        try:
            process = await asyncio.shield(starting)
            return await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(StartupError):
                await asyncio.shield(self._end(starting))
            raise

    async def _start(self, output: int | None) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self.command,
                cwd=self.directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # uvloop has no process_group
            )
        except OSError as error:  # such as ENOEXEC of a script without "#!", or E2BIG
            what = f"{self.command[0]} cannot be started: {error.strerror}"
            raise StartupError(Problem("build.command", what)) from None

    async def _end(self, starting: asyncio.Task[Process]) -> None:
        """Ends the process group and waits for its leader."""
        process = await starting
        _signal_group(process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(self._grace):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            _signal_group(process.pid, signal.SIGKILL)  # with the processes that the leader left behind
        await process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


@contextmanager
def _pipe(on_output: OnOutput) -> Iterator[int]:
    """The end of a pipe for a child process; the event loop passes on what is written to it.

    A process that outlives the command may keep its end open: the last pieces are read without waiting for its close.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)

    def read() -> bool:
        try:
            piece = os.read(ours, _PIECE)
        except BlockingIOError:
            return False
        if piece:
            on_output(piece)
        else:
            loop.remove_reader(ours)
        return bool(piece)

    loop.add_reader(ours, read)
    try:
        yield theirs
    finally:
        loop.remove_reader(ours)
        os.close(theirs)
        for _ in range(_LAST_PIECES):
            if not read():
                break
        os.close(ours)
