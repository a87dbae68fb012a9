"""CPython compiled to WASI, 26 MB: the module of the tests, from the tests' folder of fetched modules."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from samples.packages import CPYTHON

_ROOT = Path(__file__).parents[2]


def cpython() -> Path:
    """The path of the module; the first call fetches it from npm."""
    return CPYTHON.fetch(toolchains)


def toolchains() -> Mapping[str, str]:
    """An environment whose PATH has npm: the system's, or the one that scripts/build-samples installs."""
    if shutil.which("npm"):
        return os.environ
    subprocess.run([str(_ROOT / "scripts" / "build-samples"), "go"], check=True)
    return os.environ | {"PATH": f"{_ROOT / 'samples' / '.venv-samples' / 'bin'}:{os.environ['PATH']}"}
