"""What one hello request takes of CPython: calls of functions, and objects; and the files it goes through.

    python -m benchmarks.measures.objects     # some seconds; needs gcc

The request goes through the worker's HTTP protocol in this process, without a socket and without access log. Calls are
counted by sys.setprofile, for which the resumption of a coroutine is one, and without those of the loop itself; objects
are blocks of CPython's object allocator, counted by a hook in C, those of the loop among them. A small tuple, a list, a
dict or a float that CPython takes from its free lists is in no new block. Each count is that of many requests less that
of fewer ones: the same on a busy machine.
"""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvloop

import wagi_gateway
from wagi_gateway.config.settings import LogConfig
from wagi_gateway.observe import log

from ..harness.server import HELLO_WAT
from ..loops.http import HttpLoop
from ..loops.request import allow_slow_guests
from ..peers.peer import find

_HOOK = Path(__file__).parents[1] / "loops" / "allocations.c"
_BENCHMARKS = str(Path(__file__).parents[1])
_PACKAGE = Path(wagi_gateway.__file__).parent
_WARM_UP, _FEW, _MANY = 100, 100, 1100


@dataclass(frozen=True, slots=True)
class Request:
    """The counts of one request."""

    calls: int
    """Calls of Python functions, of this package and of others."""
    c_calls: int
    """Calls of functions in C."""
    objects: int
    """In new blocks."""
    files: dict[Path, int]
    """The package's files with a call, relative to it, and how many they have."""

    @property
    def own_calls(self) -> int:
        """Calls of functions of this package."""
        return sum(self.files.values())


def lines(file: Path) -> int:
    """The length of one of a request's files."""
    return len((_PACKAGE / file).read_text().splitlines())


def objects() -> Request:
    """Counts a request."""
    return uvloop.run(_objects())


async def _objects() -> Request:
    allow_slow_guests()
    with tempfile.TemporaryDirectory() as directory:
        hook = _hook(Path(directory))
        loop = HttpLoop(HELLO_WAT)
        log.configure(LogConfig(access=False))
        async with loop.serving():
            await loop.run(_WARM_UP)
            gc.collect()
            gc.disable()
            try:
                few, many = [await _calls(loop, count) for count in (_FEW, _MANY)]
                hook.start()
                blocks = []
                for count in (_FEW, _MANY):
                    before = hook.count()
                    await loop.run(count)
                    blocks.append(hook.count() - before)
            finally:
                gc.enable()
    of_one = {key: round((many[key] - few[key]) / (_MANY - _FEW)) for key in many}
    files = {
        Path(name).relative_to(_PACKAGE): count
        for (event, name), count in of_one.items()
        if event == "call" and count and Path(name).is_relative_to(_PACKAGE)
    }
    totals = Counter[str]()
    for (event, _), count in of_one.items():
        totals[event] += count
    return Request(totals["call"], totals["c_call"], round((blocks[1] - blocks[0]) / (_MANY - _FEW)), files)


async def _calls(loop: HttpLoop, count: int) -> Counter[tuple[str, str]]:
    """Events of the profiler by kind and file, but those of the loop itself."""
    found = Counter[tuple[str, str]]()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if not (name := frame.f_code.co_filename).startswith(_BENCHMARKS):
            found[event, name] += 1

    sys.setprofile(note)
    try:
        await loop.run(count)
    finally:
        sys.setprofile(None)
    return found


def _hook(directory: Path) -> ctypes.PyDLL:
    """The compiled hook; its functions are `start` and `count`."""
    library = directory / "allocations.so"
    subprocess.run([find("gcc", "gcc"), "-O2", "-shared", "-fPIC", "-o", str(library), str(_HOOK)], check=True)
    hook = ctypes.PyDLL(str(library))
    hook.count.restype = ctypes.c_long
    return hook


def main() -> None:
    """Prints the counts."""
    request = objects()
    print(f"{request.calls} calls of Python functions, {request.own_calls} of them in this package")
    print(f"{request.c_calls} calls of functions in C\n{request.objects} objects in new blocks")
    for file, count in sorted(request.files.items()):
        print(f"{file}: {lines(file)} lines, {count} calls")


if __name__ == "__main__":
    main()
