"""Entity tags that change with the content, and the charset of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wagi_gateway.http import file_content
from wagi_gateway.http.file_content import MAX_READ, FileContent, FileContents


def describe(path: Path, media_type: str = "text/plain", contents: FileContents | None = None) -> FileContent:
    with path.open("rb") as file:
        descriptor = file.fileno()
        return (contents or FileContents()).describe(descriptor, os.fstat(descriptor), media_type)


def write(path: Path, data: bytes, modified: int) -> None:
    path.write_bytes(data)
    os.utime(path, (modified, modified))


@pytest.mark.parametrize("modified", [0, 1, 315_532_800, 1_700_000_000])
@pytest.mark.parametrize("size", [3, MAX_READ + 1], ids=["small", "large"])
@pytest.mark.parametrize("way", ["in place", "by rename"])
def test_other_bytes_have_another_tag(tmp_path: Path, modified: int, size: int, way: str) -> None:
    contents, path, new = FileContents(), tmp_path / "a", tmp_path / "new"
    write(path, b"x" * size, modified)
    before = describe(path, contents=contents).etag
    write(path if way == "in place" else new, b"y" * size, modified)
    if way == "by rename":
        new.rename(path)
    assert describe(path, contents=contents).etag != before


def test_equal_files_on_two_servers_have_one_tag(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, b"same", 1)
    assert describe(tmp_path / "a").etag == describe(tmp_path / "b").etag


def test_a_content_is_read_once_and_kept_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_content, "_SETTLED", -(10**9))
    monkeypatch.setattr(file_content, "_MAX_CACHED", 2)
    contents = FileContents()
    for name in "abc":
        write(tmp_path / name, name.encode(), 1)
        first = describe(tmp_path / name, contents=contents)
        assert describe(tmp_path / name, contents=contents) is first
    assert len(contents._cached) == 1


def test_a_tag_is_a_tag(tmp_path: Path) -> None:
    write(tmp_path / "a", b"", 1)
    assert describe(tmp_path / "a").etag.strip('"').isalnum()


HTML, CSS, XML = "text/html", "text/css", "text/xml"


@pytest.mark.parametrize(
    ("media_type", "data", "is_utf8"),
    [
        pytest.param("text/plain", b"", True, id="empty"),
        pytest.param("text/plain", b"abc", True, id="ASCII"),
        pytest.param("text/plain", "é€😀".encode(), True, id="UTF-8"),
        pytest.param("text/plain", "é".encode("utf-8-sig"), True, id="byte order mark"),
        pytest.param("text/plain", "é".encode("latin-1"), False, id="ISO-8859-1"),
        pytest.param("text/plain", b"a" * 100_000 + b"\xe9", False, id="ISO-8859-1, late"),
        pytest.param("text/plain", b"a" * 65_535 + "é".encode(), True, id="a character in two pieces"),
        pytest.param("text/plain", "é".encode()[:1], False, id="half a character"),
        pytest.param("text/plain", "é".encode("utf-16"), False, id="UTF-16, byte order mark"),
        pytest.param("text/plain", "abc".encode("utf-16-le"), False, id="UTF-16, ASCII"),
        pytest.param("text/plain", "日本".encode("iso-2022-jp"), False, id="ISO 2022"),
        pytest.param("text/plain", "日本".encode("shift-jis"), False, id="Shift JIS"),
        pytest.param("text/plain", b"\xed\xa0\x80", False, id="surrogate"),
        pytest.param("text/plain", b"\xc0\xaf", False, id="overlong"),
        pytest.param(HTML, b"<meta charset=utf-8>", True, id="meta UTF-8"),
        pytest.param(HTML, b'<META charset="UTF8" />', True, id="meta UTF8"),
        pytest.param(HTML, b"<meta charset='iso-8859-1'><p>a", False, id="meta"),
        pytest.param(
            HTML,
            b'<meta http-equiv="Content-Type" content="text/html; charset=ISO-8859-1"><p>\xe9',
            False,
            id="meta http-equiv",
        ),
        pytest.param(
            HTML,
            b'<meta http-equiv=Content-Type content="text/html;charset=windows-1252">',
            False,
            id="ASCII, declared",
        ),
        pytest.param(HTML, b"\xef\xbb\xbf<meta charset=latin1>", True, id="byte order mark before meta"),
        pytest.param(HTML, b"<p>" * 400 + b"<meta charset=latin1>", True, id="meta too late"),
        pytest.param("text/plain", b"<meta charset=latin1>", True, id="meta in plain text"),
        pytest.param(CSS, b'@charset "iso-8859-1"; a{}', False, id="@charset"),
        pytest.param(CSS, b'a{} @charset "iso-8859-1";', True, id="@charset too late"),
        pytest.param(XML, b'<?xml version="1.0" encoding="ISO-8859-1"?><a/>', False, id="XML declaration"),
        pytest.param(XML, b"<?xml version='1.0' encoding='utf-8'?><a/>", True, id="XML declaration, UTF-8"),
    ],
)
def test_charsets(tmp_path: Path, media_type: str, data: bytes, is_utf8: bool) -> None:
    (tmp_path / "a").write_bytes(data)
    assert describe(tmp_path / "a", media_type).is_utf8 == is_utf8


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)
    assert not describe(tmp_path / "a").is_utf8
