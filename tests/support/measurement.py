"""Code that runs without the measurement of its coverage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from coverage import Coverage

_CONFIG = "COVERAGE_PROCESS_CONFIG"
UNMEASURED = {_CONFIG: ""}
"""The environment of a process whose coverage is not measured, or that cannot write the data."""


@contextmanager
def without_coverage() -> Iterator[None]:
    """Suspends the measurement in this process and in those it starts: a traced line takes twice its time."""
    is_measured = bool(os.environ.get(_CONFIG))
    coverage = Coverage.current() if is_measured else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_CONFIG, "")
        if coverage:
            coverage.stop()
        try:
            yield
        finally:
            if coverage:
                coverage.start()
