"""Every test of this directory runs on both backends: `hot`, the C API, and `public`, for other releases of wasmtime.

Guests end in the same ways on both. The public backend is slower and differs in three ways: a guest that is stopped
while it is blocked may compute for a tick; without a pool, a module's needs are compared with its limits at
instantiation, not at compilation; and each module keeps a descriptor.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import OTHER_RELEASE
from wagi_gateway.compiler import abi
from wagi_gateway.sandbox.invocation import GuestVolume


@pytest.fixture(params=["hot", "public"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The backend; for `public` only the version of wasmtime that the package reads is replaced."""
    if request.param == "public":
        monkeypatch.setattr(abi, "WASMTIME_VERSION", OTHER_RELEASE)
    return str(request.param)


@pytest.fixture
def volume(tmp_path: Path) -> GuestVolume:
    """A writable volume with a file, beside a file outside of it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a")
    (tmp_path / "secret.txt").write_text("secret")
    return GuestVolume(str(tmp_path / "data").encode(), b"/data", True)
