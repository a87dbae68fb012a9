"""The instructions of one request in user mode, counted by valgrind: the same to half a per cent on a busy machine.

    python -m benchmarks.measures.instructions                 # each guest: the count
    python -m benchmarks.measures.instructions hello --profile # and the C functions that take most of them

Needs valgrind (Debian: apt-get install valgrind). The system's own work and waiting are not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from wagi_gateway.sandbox import inline

from ..guests.wat import ENV_C, ENVIRON_WAT, VARIABLES_RS
from ..harness.server import HELLO_WAT
from ..loops.asgi import AsgiLoop

_GUESTS = {"hello": HELLO_WAT, "environment": ENVIRON_WAT, "c": ENV_C, "rust": VARIABLES_RS}
_WARM_UP, _COUNT = 40, 1000
"""Requests before, and those that are counted."""
_FUNCTIONS = 40


def main() -> None:
    """Prints the instructions of a request for each guest."""
    parser = argparse.ArgumentParser(description="Counts the instructions of a request.")
    parser.add_argument("guests", nargs="*", metavar="GUEST", help=f"of {', '.join(_GUESTS)}; all without one")
    parser.add_argument("--profile", action="store_true", help="print the C functions that take most of them")
    parser.add_argument("--run", choices=_GUESTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        asyncio.run(_run(_GUESTS[options.run]))
        return
    if unknown := set(options.guests) - set(_GUESTS):
        parser.error(f"no such guest: {', '.join(sorted(unknown))}")
    if shutil.which("valgrind") is None:
        sys.exit("benchmarks: valgrind is not installed (Debian: apt-get install valgrind)")
    for guest in options.guests or _GUESTS:
        with tempfile.TemporaryDirectory() as directory:
            output = Path(directory) / "output"
            print(f"{guest}: {_count(guest, output):,} instructions", flush=True)
            if options.profile:
                report = subprocess.run(
                    ["callgrind_annotate", "--auto=no", str(output)], check=True, capture_output=True, text=True
                )
                lines = re.findall(r"^ *[\d,]+ \( *[\d.]+%\) .*", report.stdout, re.MULTILINE)
                print("\n".join(lines[1 : _FUNCTIONS + 1]))


def _count(guest: str, output: Path) -> int:
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={output}"]
    python = [sys.executable, "-m", "benchmarks.measures.instructions", "--run", guest]
    subprocess.run([*command, *python], check=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": "0"})
    parts = re.findall(r"^totals: (\d+)", output.read_text(), re.MULTILINE)
    return max(map(int, parts)) // _COUNT


async def _run(guest: Path) -> None:
    """What valgrind runs. Under it a guest takes fifty times as long, and would not count as quick."""
    inline._FAST, inline.TIME_SLICE = 60.0, 60.0
    loop = AsgiLoop(guest)
    async with loop.serving():
        await loop.run(_WARM_UP)
        gc.collect()
        gc.freeze()
        gc.disable()
        _instrument("on")
        await loop.run(_COUNT)
        _instrument("off")


def _instrument(state: str) -> None:
    subprocess.run(["callgrind_control", "-i", state, str(os.getpid())], check=True, capture_output=True)


if __name__ == "__main__":
    main()
