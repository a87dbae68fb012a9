"""wrk: the highest rate of requests over persistent connections."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from .cores import LOAD
from .errors import Failed

CONNECTIONS = 16
UPLOAD = Path(__file__).parent / "upload.lua"
"""A wrk script: POST of 1 MiB."""


def check_wrk() -> None:
    """Exits with a message if wrk is not installed."""
    if shutil.which("wrk") is None:
        sys.exit("benchmarks: wrk is not installed (Debian: apt-get install wrk)")


class Load(NamedTuple):
    """What wrk has done."""

    requests: int
    rate: float
    """Requests per second."""


def wrk(
    url: str,
    seconds: float,
    connections: int = CONNECTIONS,
    *,
    cores: frozenset[int] = LOAD,
    script: Path | None = None,
) -> Load:
    """Loads a server. Raises Failed if a request fails or has another status than 2xx."""
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", *(["-s", str(script)] if script else [])]
    report = subprocess.run(
        ["wrk", *options, url],
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=functools.partial(os.sched_setaffinity, 0, cores),
    ).stdout
    found = re.search(r"(\d+) requests in .*Requests/sec:\s*([\d.]+)", report, re.DOTALL)
    if not found or "Socket errors" in report or "Non-2xx" in report or float(found[2]) == 0:
        raise Failed(f"{url} answered with errors:\n{report}")
    return Load(int(found[1]), float(found[2]))
