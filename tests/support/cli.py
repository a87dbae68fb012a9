"""The command `wagi-gateway` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def gateway(*arguments: str, cwd: Path, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a command in `cwd` to its end, with the cache below `cwd`; `environment` is added to that of the tests."""
    command = [sys.executable, "-m", "wagi_gateway", *arguments]
    env = os.environ | {"XDG_CACHE_HOME": str(cwd / "cache"), "COLUMNS": "80"} | environment
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, timeout=60, env=env, check=False)
