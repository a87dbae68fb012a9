"""Fixtures of these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import php


@pytest.fixture(scope="session")
def php_cgi(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """php-cgi.wasm, built and compiled once for all tests."""
    return php.php_cgi(cache, tmp_path_factory.mktemp("php-cgi"))
