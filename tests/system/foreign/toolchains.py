"""The compilers of the samples, for modules that the tests build."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.conftest import ROOT

SAMPLES = ROOT / "samples"

Toolchains = Callable[[], Mapping[str, str]]
"""Returns an environment with npm, go and zig in PATH."""


def build_c(source: str, module: Path, toolchains: Toolchains, *flags: str) -> None:
    """Compiles a C source below tests/ to a module."""
    zig = ["python", "-m", "ziglang", "cc", "-target", "wasm32-wasi", "-Os", "-s", *flags]
    command = [*zig, "-o", str(module), str(ROOT / "tests" / source)]
    subprocess.run(command, env=toolchains(), check=True, timeout=120)
