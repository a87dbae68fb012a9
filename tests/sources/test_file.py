"""Module references: the paths they resolve to, and how the files are read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from wagi_gateway.errors import StartupError
from wagi_gateway.sources.file import read_module, resolve


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("x.wasm", "{base}/x.wasm"),
        ("sub/x.wasm", "{base}/sub/x.wasm"),
        ("/abs/x.wasm", "/abs/x.wasm"),
        ("file:x.wasm", "{base}/x.wasm"),
        ("file:/abs/x.wasm", "/abs/x.wasm"),
        ("file:///abs/a%20b.wasm", "/abs/a b.wasm"),
        ("c:x.wasm", "{base}/c:x.wasm"),
    ],
)
def test_resolve(tmp_path: Path, reference: str, path: str) -> None:
    assert resolve(reference, tmp_path).path == Path(path.format(base=tmp_path))


def test_the_working_directory_is_wagis_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, working = tmp_path / "base", tmp_path / "working"
    base.mkdir()
    working.mkdir()
    (working / "x.wasm").touch()
    monkeypatch.chdir(working)
    resolved = resolve("x.wasm", base)
    assert resolved.path == working / "x.wasm"
    assert resolved.warning is not None
    (base / "x.wasm").touch()
    assert resolve("x.wasm", base).path == base / "x.wasm"
    assert resolve("x.wasm", base).warning is None


@pytest.mark.parametrize(
    ("reference", "advice"),
    [
        ("oci:registry.example/x:1", "does not come from a registry"),
        ("bindle:x/1.0.0", "bindles are gone"),
        ("https://h/x.wasm", "not fetched over HTTP"),
        ("gopher:x", "unknown scheme"),
    ],
)
def test_other_schemes(tmp_path: Path, reference: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        resolve(reference, tmp_path)


def test_read(tmp_path: Path) -> None:
    path = tmp_path / "x.wasm"
    path.write_bytes(b"\0asm")
    source = read_module(path)
    assert (source.data, source.digest) == (b"\0asm", hashlib.sha256(b"\0asm").hexdigest())


@pytest.mark.parametrize(("name", "reason"), [("nothere.wasm", "there is no file"), (".", "is not a file")])
def test_unreadable(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(StartupError, match=reason):
        read_module(tmp_path / name)
