"""Fixtures of the system's suites that unit tests share, and their servers without measurement of coverage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import UNMEASURED
from tests.sources.oci.conftest import user

__all__ = ["user"]


@pytest.fixture(autouse=True, scope="module")
def unmeasured() -> Iterator[None]:
    """Starts servers without coverage, which doubles the time that they need; the unit tests cover the package."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in UNMEASURED.items():
            patch.setenv(name, value)
        yield
