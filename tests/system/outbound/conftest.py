"""Fixtures of these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.foreign.conftest import toolchains
from tests.system.foreign.toolchains import SAMPLES, Toolchains, build_c

__all__ = ["caller", "toolchains"]


@pytest.fixture(scope="session")
def caller(tmp_path_factory: pytest.TempPathFactory, toolchains: Toolchains) -> Path:
    """The module of `caller.c`, a guest that reads its calls from standard input."""
    module = tmp_path_factory.mktemp("caller") / "caller.wasm"
    build_c("system/outbound/caller.c", module, toolchains, "-I", str(SAMPLES / "c"))
    return module
