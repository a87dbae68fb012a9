"""Names of files that hold source code."""

from __future__ import annotations

import pytest

from wagi_gateway.http.source_names import source_pattern


@pytest.mark.parametrize("name", "a.php A.PhP a.php5 a.php~ a.php.bak a.php. a.phtml a.phpt a.inc a.phar a.py".split())
def test_source_code(name: str) -> None:
    assert source_pattern([".py"]).search(name)


@pytest.mark.parametrize("name", "a.txt php a.phpx a.include a.py aphp".split())
def test_other_files(name: str) -> None:
    assert not source_pattern().search(name)
