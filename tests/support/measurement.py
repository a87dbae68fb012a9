"""The coverage of a run: which tests and which of their processes are measured, and code without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from coverage import Coverage

_CONFIG = "COVERAGE_PROCESS_CONFIG"
UNMEASURED = {_CONFIG: ""}
"""The environment of a process whose coverage is not measured, or that cannot write the data."""

PROCESSES = frozenset(
    f"tests.{name}"
    for name in (
        "cli.test_bridge",
        "cli.test_build",
        "cli.test_doctor",
        "cli.test_new",
        "cli.test_node",
        "cli.test_registry",
        "compiler.test_fork_server",
        "gateway.test_reload",
        "gateway.test_request_directory",
        "http.test_document_root",
        "node.pods.test_addresses",
        "node.pods.test_pods",
        "observe.test_module_log",
        "server.test_addresses",
        "server.test_systemd",
        "server.test_worker",
        "site.test_static_routes",
        "system.dev.test_dev",
        "system.outbound.test_calls",
        "system.test_connections",
        "system.test_start_and_stop",
        "system.test_tracing",
    )
)
"""Modules whose servers and commands cover what no test covers in its own process. Their start takes twice its time."""
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
    """Whether the coverage of a module of tests, such as `tests.cli.test_new`, is measured in its own process."""
    return module in PROCESSES or not (module in REPEATING or module.startswith("tests.system."))


@contextmanager
def without_coverage_of_processes() -> Iterator[None]:
    """Suspends the measurement in the processes that this one starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_CONFIG, "")
        yield


@contextmanager
def without_coverage() -> Iterator[None]:
    """Suspends the measurement in this process and in those it starts: a traced line takes twice its time."""
    coverage = Coverage.current()  # None where it is suspended already
    with without_coverage_of_processes():
        if coverage:
            coverage.stop()
        try:
            yield
        finally:
            if coverage:
                coverage.start()
