"""The layout of the tests: unit tests mirror the package, and no test file imports another one."""

from __future__ import annotations

import ast
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.measurement import PROCESSES, REPEATING

PACKAGE, TESTS = ROOT / "wagi_gateway", ROOT / "tests"
NOT_UNITS = ("cluster", "fuzz", "micro", "project", "support", "system")
"""Folders of tests that mirror no folder of the package."""
COLLECTED_ELSEWHERE = ["cluster"]
"""Folders whose tests `scripts/test` leaves to a script of their own, such as `scripts/test-cluster`."""

CANARIES = "_internals"
"""The suffix of canary tests, for undocumented parts of libraries."""

COVERED_ELSEWHERE: dict[str, str] = {
    "__init__": "project/test_public_face.py",
    "__main__": "cli/test_main.py starts every command by it",
    "cli/dev": "system/dev/test_dev.py",
    "cli/fork_server": "node/pods/test_forks.py",
    "cli/images": "cli/test_registry.py, by the commands",
    "cli/raw_output": "cli/test_run_once.py, by --raw",
    "compiler/chunked_functions": "compiler/test_bulk_operations.py, in rewritten modules",
    "compiler/serialized_module": "compiler/test_compiler.py, on the public path",
    "compiler/warm_module": "compiler/test_compiler.py",
    "dev/inspector_server": "system/dev/test_dev.py",
    "dev/server": "system/dev/test_dev.py",
    "node/api": "node/test_client.py",
    "node/atomic_file": "node/test_lease.py and node/pods/test_state.py",
    "node/pods/gateway_start": "node/pods/test_gateway_runs.py and node/pods/test_preparation.py",
    "node/pods/latest_pod": "node/pods/test_gateway_runs.py",
    "node/pods/pull_back_off": "node/pods/test_preparation.py",
    "node/pods/runtime": "node/pods/test_pods.py",
    "node/pods/volume_kinds": "node/pods/test_volumes.py",
    "node/server/channels": "node/server/test_exec.py",
    "node/server/containers": "node/server/test_container_logs.py",
    "node/server/request_process": "node/server/test_exec.py",
    "node/server/unsupported": "node/server/test_app.py",
    "observe/access": "observe/test_log_format.py and gateway/test_record.py",
    "sandbox/capi": "sandbox/test_sandbox.py, on the hot path",
    "sandbox/public": "sandbox/test_sandbox.py, on the public path",
    "sandbox/wasi_helper": "sandbox/test_wasi_io.py and sandbox/test_wasi_files.py",
    "sandbox/wasmtime_library": "sandbox/test_sandbox.py and sandbox/test_component.py",
    "server/uvicorn_config": "server/test_uvicorn_internals.py, system/test_connections.py",
    "version": "project/test_requirements.py",
}
"""Modules without a test file of their own, and the tests that cover them."""


def modules() -> set[str]:
    """`config/pod/toml` for each module; a package's `__init__` only if there is code in it."""
    return {
        str(path.relative_to(PACKAGE).with_suffix(""))
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py" or _has_code(path)
    }


def _has_code(path: Path) -> bool:
    nodes = ast.parse(path.read_text()).body
    return any(not isinstance(node, (ast.Expr, ast.ImportFrom, ast.Import)) for node in nodes)


def unit_tests() -> set[str]:
    """`config/pod/toml` for each file of unit tests."""
    return {
        str((path.parent / path.stem.removeprefix("test_")).relative_to(TESTS))
        for path in TESTS.rglob("test_*.py")
        if path.relative_to(TESTS).parts[0] not in NOT_UNITS and not path.stem.endswith(CANARIES)
    }


def test_every_folder_of_tests_is_collected(pytestconfig: pytest.Config) -> None:
    patterns = pytestconfig.getini("norecursedirs")
    folders = {part for path in TESTS.rglob("test_*.py") for part in path.relative_to(TESTS).parts[:-1]}
    left_out = [folder for folder in folders if any(fnmatch(folder, pattern) for pattern in patterns)]
    assert left_out == COLLECTED_ELSEWHERE
    run_in_ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [folder for folder in COLLECTED_ELSEWHERE if f"./scripts/test-{folder}" not in run_in_ci] == []


def test_every_module_has_its_unit_tests() -> None:
    assert sorted(modules() - unit_tests() - COVERED_ELSEWHERE.keys()) == []


def test_every_unit_test_mirrors_a_module() -> None:
    assert sorted(unit_tests() - modules()) == []


def test_nothing_is_excused_without_need() -> None:
    assert sorted(COVERED_ELSEWHERE.keys() - (modules() - unit_tests())) == []
    assert list(COVERED_ELSEWHERE) == sorted(COVERED_ELSEWHERE)


def test_no_file_imports_a_test_file() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted(TESTS.rglob("*.py"))
        for line, name in _imports(path)
        if any(part.startswith("test_") for part in name.split("."))
    ]
    assert found == []


def _imports(path: Path) -> list[tuple[int, str]]:
    """The full name of each import of a file, with its line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parent.parts
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return [(line, name) for line, name in found if name.startswith("tests.")]


@pytest.mark.parametrize("module", sorted(PROCESSES | REPEATING))
def test_a_module_that_is_named_for_its_coverage_exists(module: str) -> None:
    assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
