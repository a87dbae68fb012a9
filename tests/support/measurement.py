"""The coverage of a run: which modules of tests are measured, and code without it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from coverage import Coverage

_CONFIG = "COVERAGE_PROCESS_CONFIG"
UNMEASURED = {_CONFIG: ""}
"""The environment of a process whose coverage is not measured, or that cannot write the data."""

SYSTEM = frozenset(
    f"tests.system.{name}"
    for name in (
        "dev.test_dev",
        "outbound.test_calls",
        "test_connections",
        "test_start_and_stop",
        "test_tracing",
        "wire.test_bodies",
        "wire.test_lifecycle",
    )
)
"""Modules below tests/system that cover what no unit test does."""
REPEATING = frozenset(
    f"tests.{name}"
    for name in (
        "cli.test_main",
        "cli.test_standard_streams",
        "compiler.test_abi",
        "compiler.test_bulk_operations",
        "compiler.test_instructions",
        "config.test_positions",
        "http.test_static",
        "observe.test_log",
        "sandbox.test_adapter",
        "sandbox.test_proc_exit",
        "server.test_admin",
        "sources.oci.test_challenge",
        "test_router",
    )
)
"""Modules of unit tests that run for long and cover next to nothing alone."""


def is_measured(module: str) -> bool:
    """Whether the coverage of a module of tests, such as `tests.cli.test_new`, is measured."""
    return module in SYSTEM if module.startswith("tests.system.") else module not in REPEATING


@contextmanager
def without_coverage() -> Iterator[None]:
    """Suspends the measurement in this process and in those it starts: a traced line takes twice its time."""
    coverage = Coverage.current() if os.environ.get(_CONFIG) else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_CONFIG, "")
        if coverage:
            coverage.stop()
        try:
            yield
        finally:
            if coverage:
                coverage.start()
