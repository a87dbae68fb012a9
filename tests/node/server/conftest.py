"""A node's API for the tests of a module, and a log as a gateway writes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.node_api import NodeApi, running_node_api


@pytest.fixture(scope="module")
def node_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeApi]:
    with running_node_api(tmp_path_factory.mktemp("node")) as running:
        yield running
