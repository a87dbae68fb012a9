"""The run of a build command, in a process group of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
from asyncio.subprocess import Process
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..config.settings import BuildConfig, SnapshotConfig
from ..errors import Problem, StartupError
from .snapshot import find_tool, missing_snapshot_tool, snapshot_command
from .toolchain import MissingTool, missing_tool

OnOutput = Callable[[bytes], None]
"""Takes the next piece of the output, at most 64 KiB: standard output and error in the order of their writes."""

_PIECE = 65536
"""Bytes of one read, and of a pipe."""
_LAST_PIECES = 16
"""Pieces that are read after the command's end; a process that it left behind may write for ever."""


class Build:
    """The build of one module: its command and working directory. Each run starts the command anew."""

    def __init__(
        self,
        config: BuildConfig,
        base: Path,
        *,
        grace: float = 2.0,
        entrypoint: str = "_start",
        output: Path | None = None,
    ) -> None:
        """`base` is the directory of the configuration; `grace` the seconds between SIGTERM and SIGKILL. `output` is
        the file that a snapshot becomes, and `entrypoint` its export."""
        self.command = config.command
        self.directory = base.absolute() / config.directory
        self.snapshot = config.snapshot
        self._entrypoint = entrypoint
        self._output = output
        self._grace = grace

    def __str__(self) -> str:
        """The command, as a shell reads it, and the snapshot."""
        steps = [shlex.join(self.command)] if self.command else []
        return "; ".join([*steps, f"snapshot of {self.snapshot.module}"] if self.snapshot else steps)

    def missing_tool(self) -> MissingTool | None:
        """The first tool that the build lacks; None if all are there, as far as is known."""
        missing = missing_tool(self.command, self.directory) if self.command else None
        return missing or (missing_snapshot_tool(self.directory) if self.snapshot else None)

    async def run(self, on_output: OnOutput | None = None) -> int:
        """Runs the command and the snapshot to their end; returns the exit code of the first that fails, or the
        negative number of the signal that ended it.

        The output goes to `on_output`, or unchanged to this process's own standard output and error. The command reads
        nothing from standard input. A cancelled run ends the process group, first with SIGTERM, then with SIGKILL.
        Raises StartupError if the command cannot be started.
        """
        self._check()
        if on_output is None:
            return await self._run_steps(None)
        with _pipe(on_output) as output:
            return await self._run_steps(output)

    async def _run_steps(self, output: int | None) -> int:
        code = await self._run(self.command, output) if self.command else 0
        return code if code or not self.snapshot else await self._take_snapshot(self.snapshot, output)

    async def _take_snapshot(self, snapshot: SnapshotConfig, output: int | None) -> int:
        """Makes the snapshot beside its place, which it takes once it is whole."""
        tool = find_tool(self.directory)
        if missing := missing_snapshot_tool(self.directory):
            raise StartupError(Problem("build.snapshot", f"{missing.what}; {missing.install}"))
        if self._output is None:
            raise StartupError(Problem("build.snapshot", "module names no file that it could become"))
        if not (self.directory / snapshot.module).is_file():
            raise StartupError(Problem("build.snapshot", f"there is no file {self.directory / snapshot.module}"))
        made = self._output.with_name(f"{self._output.name}.{os.getpid()}")
        try:
            code = await self._run(
                snapshot_command(snapshot, self.directory, tool or Path(), self._entrypoint, made), output
            )
            if not code:
                os.replace(made, self._output)
        except OSError as error:
            what = f"{self._output} cannot be written: {error.strerror}"
            raise StartupError(Problem("build.snapshot", what)) from None
        finally:
            made.unlink(missing_ok=True)
        return code

    def _check(self) -> None:
        if not self.directory.is_dir():
            raise StartupError(Problem("build.directory", f"there is no directory {self.directory}"))
        if not self.command:
            return
        program = self.command[0]
        # As in execvp: a name with a slash is a path, which starts in the working directory.
        found = shutil.which(self.directory / program) if "/" in program else shutil.which(program)
        if not found:
            where = f"no program at {self.directory / program}" if "/" in program else f"no program {program} in PATH"
            raise StartupError(Problem("build.command", f"there is {where}; install it or change the command"))

    async def _run(self, command: Sequence[str], output: int | None) -> int:
        # A cancellation between fork and exec finds no process to end yet.
        starting = asyncio.create_task(self._start(command, output))
        try:
            process = await asyncio.shield(starting)
            return await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(StartupError):
                await asyncio.shield(self._end(starting))
            raise

    async def _start(self, command: Sequence[str], output: int | None) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                cwd=self.directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # uvloop has no process_group
            )
        except OSError as error:  # such as ENOEXEC of a script without "#!", or E2BIG
            what = f"{command[0]} cannot be started: {error.strerror}"
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
