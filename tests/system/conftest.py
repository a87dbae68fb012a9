"""Fixtures of the system's suites that unit tests share, and the modules of tests whose coverage is measured."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sources.oci.conftest import user
from tests.support.measurement import without_coverage

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
    """Runs tests and starts servers without coverage, which doubles the time that they need, except in MEASURED."""
    if request.module.__name__.rpartition(".")[2] in MEASURED:
        yield
        return
    with without_coverage():
        yield
