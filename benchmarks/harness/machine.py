"""The description of the machine."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
from pathlib import Path


def machine(*packages: str) -> str:
    """Two lines: the interpreter and the versions of `packages`; processor and kernel."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return f"{platform.python_implementation()} {platform.python_version()}, {versions}\n{_processor()}"


def _processor() -> str:
    with contextlib.suppress(OSError):
        if found := re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()):
            return f"{os.cpu_count()} x {found[1]}, {platform.system()} {platform.release()}"
    return f"{os.cpu_count()} x {platform.machine()}, {platform.system()} {platform.release()}"
