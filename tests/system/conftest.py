"""Fixtures of the system's suites that unit tests share, and their servers without measurement of coverage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import UNMEASURED
from tests.sources.oci.conftest import user

__all__ = ["user"]


MEASURED = {
    "test_bodies",
    "test_calls",
    "test_connections",
    "test_dev",
    "test_ends",
    "test_lifecycle",
    "test_reload",
    "test_start_and_stop",
    "test_tracing",
}
"""The modules of tests with what no unit test covers: the supervisor, the development server, spans, calls of guests,
bounds of connections."""


@pytest.fixture(autouse=True, scope="module")
def unmeasured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Starts servers without coverage, which doubles the time that they need, except in MEASURED."""
    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__.rpartition(".")[2] not in MEASURED:
            for name, value in UNMEASURED.items():
                patch.setenv(name, value)
        yield
