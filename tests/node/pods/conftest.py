"""A registry with the modules of the stories."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.registry import Registry, running_registry
from tests.support.stories import publish_stories


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        publish_stories(registry)
        yield registry
