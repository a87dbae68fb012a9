"""Canary: the internal names of Starlette that the package overrides or calls still exist.

Where a test fails: adapt the module it names, and the upper bound of starlette in pyproject.toml.
"""

from __future__ import annotations

import inspect
import os
from importlib.metadata import version
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.staticfiles import NotModifiedResponse, StaticFiles


@pytest.mark.parametrize(
    ("owner", "name", "parameters", "module"),
    [
        (StaticFiles, "lookup_path", "self path", "http/static.py"),
        (NotModifiedResponse, "__init__", "self headers", "http/static.py"),
        (Starlette, "__call__", "self scope receive send", "app.py"),
    ],
)
def test_a_method_that_is_used_exists(owner: type, name: str, parameters: str, module: str) -> None:
    what = f"starlette {version('starlette')}: {owner.__name__}.{name}({parameters}), used by {module}"
    assert list(inspect.signature(getattr(owner, name, None) or len).parameters) == parameters.split(), what


def test_a_path_is_looked_up_below_the_directory(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "a").write_text("a")
    (tmp_path / "secret").write_text("b")
    (tmp_path / "public" / "link").symlink_to(tmp_path / "secret")
    files = StaticFiles(directory=tmp_path / "public", check_dir=False)
    path, status = files.lookup_path("a")
    assert (path, status and status.st_size) == (os.path.realpath(tmp_path / "public" / "a"), 1)
    assert [files.lookup_path(name)[1] for name in ("missing", "../secret", "link")] == [None, None, None]


def test_a_response_to_a_conditional_request(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    response = FileResponse(tmp_path / "a", headers={"etag": '"x"'}, stat_result=(tmp_path / "a").stat())
    assert response.headers["etag"] == '"x"'
    assert NotModifiedResponse(response.headers).status_code == 304
