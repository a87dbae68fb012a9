"""Fixtures: a control plane for the session, a namespace for each test, and a registry with the article's modules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster.article import publish_modules
from tests.support.cluster.cluster import Cluster, running_cluster
from tests.support.registry import Registry, running_registry

HERE = Path(__file__).parent
BUILD = 1800.0
"""The timeout in seconds of the first test, which may build the control plane."""
TIMEOUT = 300.0
"""The timeout in seconds of another test."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives the first test the time to build the control plane, and the others that of a busy machine."""
    own = [item for item in items if item.path.is_relative_to(HERE)]
    for item in own[1:]:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TIMEOUT))
    for item in own[:1]:
        item.add_marker(pytest.mark.timeout(BUILD), append=False)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane without nodes."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace of the test's own."""
    return cluster.new_namespace()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A docker-registry with the article's five modules."""
    with running_registry(tmp_path_factory.mktemp("registry")) as started:
        publish_modules(started)
        yield started
