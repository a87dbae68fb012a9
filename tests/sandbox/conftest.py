"""Every test of this directory on both paths: the hot one, and the one for another release of wasmtime.

Guests end in the same ways on both. What the other path costs besides time: a guest that is stopped while it is blocked
may compute for a tick; there is no pool, so what a module needs is compared with its limits when it is instantiated,
not when it is compiled; and each module keeps a descriptor.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.conftest import OTHER_RELEASE
from wagi_gateway.compiler import abi


@pytest.fixture(params=["hot", "public"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path; for `public` nothing but the version that is looked at is another one."""
    if request.param == "public":
        monkeypatch.setattr(abi, "WASMTIME_VERSION", OTHER_RELEASE)
    return str(request.param)


@pytest.fixture
def nervous() -> Iterator[None]:
    """Threads switch each microsecond."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
