"""wrk: the highest rate of requests over persistent connections."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .cores import LOAD
from .errors import Failed
from .sample import Work

CONNECTIONS = 16
_ATTEMPTS = 3
"""Loads that may pass without a single response: on a machine that is busy a second can."""
UPLOAD = Path(__file__).parent / "upload.lua"
"""A wrk script: POST of 1 MiB."""


def check_wrk() -> None:
    """Exits with a message if wrk is not installed."""
    if shutil.which("wrk") is None:
        sys.exit("benchmarks: wrk is not installed (Debian: apt-get install wrk)")


def wrk(
    url: str,
    seconds: float,
    connections: int = CONNECTIONS,
    *,
    cores: frozenset[int] = LOAD,
    script: Path | None = None,
    fields: Sequence[str] = (),
) -> Work:
    """Loads a server, with further header fields (`name: value`). Raises Failed if a request fails or has another
    status than 2xx."""
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", *(["-s", str(script)] if script else [])]
    options += [option for field in fields for option in ("-H", field)]
    for _ in range(_ATTEMPTS):
        report = subprocess.run(
            ["wrk", *options, url],
            check=True,
            capture_output=True,
            text=True,
            preexec_fn=functools.partial(os.sched_setaffinity, 0, cores),
        ).stdout
        found = re.search(r"(\d+) requests in .*Requests/sec:\s*([\d.]+)", report, re.DOTALL)
        if not found or "Socket errors" in report or "Non-2xx" in report:
            break
        if int(found[1]):
            return Work(int(found[1]), float(found[2]))
    raise Failed(f"{url} answered with errors, or nothing {_ATTEMPTS} times:\n{report}")
