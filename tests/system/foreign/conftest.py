"""Fixtures of these tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

import pytest

from tests.conftest import ROOT
from tests.system.foreign.toolchains import SAMPLES, Toolchains


@pytest.fixture(scope="session")
def toolchains() -> Toolchains:
    """Builds the Go sample, which installs npm, go and zig if needed; returns an environment with them in PATH."""
    environ: dict[str, str] = {}

    def install() -> Mapping[str, str]:
        if not environ:
            command = [str(ROOT / "scripts/build-samples"), "go"]
            finished = subprocess.run(command, capture_output=True, text=True, timeout=600)
            assert finished.returncode == 0, finished.stdout + finished.stderr
            own = SAMPLES / ".venv-samples"
            zig = {"ZIG_GLOBAL_CACHE_DIR": str(own / "zig"), "ZIG_LOCAL_CACHE_DIR": str(own / "zig")}
            environ.update(os.environ | zig | {"PATH": f"{own / 'bin'}:{os.environ['PATH']}"})
        return environ

    return install
