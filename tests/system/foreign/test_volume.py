"""`cat`, compiled from C, prints the files of its volume and no others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, running
from tests.support.config import module
from tests.system.foreign.toolchains import Toolchains, build_c

PAGE = b"content-type: text/html; charset=utf-8\nset-cookie: a=1\nset-cookie: b=2\n\n<p>caf\xc3\xa9</p>\n"


@pytest.fixture(scope="module")
def cat(tmp_path_factory: pytest.TempPathFactory, toolchains: Toolchains, cache: Path) -> Iterator[Server]:
    """`cat` at /cat: the query names files of a read-only volume, the response is their content."""
    directory = tmp_path_factory.mktemp("cat")
    (directory / "secret").write_bytes(PAGE)
    (directory / "www").mkdir()
    (directory / "www/page").write_bytes(PAGE)
    (directory / "www/more").write_bytes(b"x" * 2**20)
    (directory / "www/link").symlink_to(directory / "secret")
    build_c("system/foreign/cat.c", directory / "cat.wasm", toolchains)
    volumes = {"/": {"path": "www", "read_only": True}}
    config = module("/cat", "cat.wasm", argv="cat ${ARGS}", volumes=volumes)
    with running(directory, config, cache=cache) as server:
        yield server


def test_cat_prints_files_of_its_volume(cat: Server) -> None:
    response = cat.get("/cat?page&more")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert response.content == "<p>café</p>\n".encode() + b"x" * 2**20


@pytest.mark.parametrize("file", ["missing", "../secret", "/../secret", "link", "%2e%2e/secret"])
def test_cat_reads_nothing_outside_of_its_volume(cat: Server, file: str) -> None:
    response = cat.get(f"/cat?{file}")
    assert response.status_code == 500
    assert "caf" not in response.text


def test_a_volume_that_was_replaced_by_a_link_is_still_the_old_one(
    toolchains: Toolchains, tmp_path: Path, cache: Path
) -> None:
    build_c("system/foreign/cat.c", tmp_path / "cat.wasm", toolchains)
    (tmp_path / "www").mkdir()
    (tmp_path / "www/page").write_bytes(PAGE)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/page").write_bytes(b"content-type: text/plain\n\nsecret")
    config = module("/cat", "cat.wasm", argv="cat ${ARGS}", volumes={"/": "www"})
    with running(tmp_path, config, cache=cache) as server:
        (tmp_path / "www").rename(tmp_path / "old")
        (tmp_path / "www").symlink_to("outside")
        assert server.get("/cat?page").text == "<p>café</p>\n"
