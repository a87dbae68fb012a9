"""The instructions of one request in user mode, counted by valgrind: the same to half a per cent on a busy machine.

    python -m benchmarks.measures.instructions                 # each guest: the count
    python -m benchmarks.measures.instructions hello --profile # and the C functions that take most of them
    python -m benchmarks.measures.instructions hello --http --log json # through the HTTP protocol, with an access log

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
from typing import Literal

import uvloop

from wagi_gateway.app import create_app
from wagi_gateway.config.settings import LogConfig
from wagi_gateway.observe import log

from ..guests.wat import ENV_C, ENVIRON_WAT, VARIABLES_RS
from ..harness.server import HELLO_WAT
from ..loops.asgi import AsgiLoop
from ..loops.http import HttpLoop
from ..loops.request import allow_slow_guests, load_hello

_GUESTS = {"hello": HELLO_WAT, "environment": ENVIRON_WAT, "c": ENV_C, "rust": VARIABLES_RS}
_WARM_UP, _COUNT = 40, 1000
"""Requests before, and those that are counted."""
_FUNCTIONS = 40


def main() -> None:
    """Prints the instructions of a request for each guest."""
    parser = argparse.ArgumentParser(description="Counts the instructions of a request.")
    parser.add_argument("guests", nargs="*", metavar="GUEST", help=f"of {', '.join(_GUESTS)}; all without one")
    parser.add_argument("--profile", action="store_true", help="print the C functions that take most of them")
    parser.add_argument("--http", action="store_true", help="with the HTTP protocol, but without a socket")
    parser.add_argument("--log", choices=("text", "json"), help="with an access log, which a pipe takes")
    parser.add_argument("--run", choices=_GUESTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run = uvloop.run if options.http else asyncio.run
        run(_run(_GUESTS[options.run], is_http=options.http, log_format=options.log))
        return
    if unknown := set(options.guests) - set(_GUESTS):
        parser.error(f"no such guest: {', '.join(sorted(unknown))}")
    if shutil.which("valgrind") is None:
        sys.exit("benchmarks: valgrind is not installed (Debian: apt-get install valgrind)")
    for guest in options.guests or _GUESTS:
        with tempfile.TemporaryDirectory() as directory:
            output = Path(directory) / "output"
            print(f"{guest}: {_count(guest, output, _variant(options)):,} instructions", flush=True)
            if options.profile:
                report = subprocess.run(
                    ["callgrind_annotate", "--auto=no", str(output)], check=True, capture_output=True, text=True
                )
                lines = re.findall(r"^ *[\d,]+ \( *[\d.]+%\) .*", report.stdout, re.MULTILINE)
                print("\n".join(lines[1 : _FUNCTIONS + 1]))


def _variant(options: argparse.Namespace) -> list[str]:
    return [*(["--http"] if options.http else []), *(["--log", options.log] if options.log else [])]


def _count(guest: str, output: Path, variant: list[str]) -> int:
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={output}"]
    python = [sys.executable, "-m", "benchmarks.measures.instructions", "--run", guest, *variant]
    subprocess.run([*command, *python], check=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": "0"})
    parts = re.findall(r"^totals: (\d+)", output.read_text(), re.MULTILINE)
    return max(map(int, parts)) // _COUNT


async def _run(guest: Path, *, is_http: bool, log_format: Literal["text", "json"] | None) -> None:
    """What valgrind runs."""
    allow_slow_guests()
    loop = HttpLoop(guest) if is_http else AsgiLoop(create_app(load_hello(guest)))
    log.configure(LogConfig(format=log_format or "text", access=log_format is not None))
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
