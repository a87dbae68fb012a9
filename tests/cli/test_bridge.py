"""The command `bridge`: the file that it writes, and its exit codes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.cli import gateway
from tests.support.handlers import HANDLER


def test_the_file_is_a_module_like_any_other(tmp_path: Path) -> None:
    shutil.copy(HANDLER, tmp_path / "app.wasm")
    result = gateway("bridge", "app.wasm", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, b"")
    assert result.stderr.decode().startswith("app-cgi.wasm written (")
    assert [path.name for path in tmp_path.glob("*.wasm")] == ["app-cgi.wasm", "app.wasm"]
    assert b"wasi:cli/run@0.2.12" in gateway("inspect", "app-cgi.wasm", cwd=tmp_path).stdout
    again = gateway("bridge", "app.wasm", "-o", "app.wasm", cwd=tmp_path)
    assert again.returncode == 0
    assert (tmp_path / "app.wasm").read_bytes() == (tmp_path / "app-cgi.wasm").read_bytes()
    ran = gateway("run", "app.wasm", "--path", "/a/headers", cwd=tmp_path)
    assert (ran.returncode, ran.stdout.rpartition(b"\n")[2]) == (0, b"headers")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.wasm",), "there is no file none.wasm"),
        ((".",), "error: . is not a file"),
        (("text.wasm",), "error: text.wasm: is no module"),
        (("handler.wasm", "-o", "folder"), "error: folder: is not a file; name another one in --output"),
        (("handler.wasm", "-o", "none/a.wasm"), "error: none/a.wasm: cannot be written: No such file or directory"),
    ],
)
def test_what_fails_leaves_no_file(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "text.wasm").write_text("text")
    (tmp_path / "folder").mkdir()
    shutil.copy(HANDLER, tmp_path / "handler.wasm")
    before = sorted(path.name for path in tmp_path.iterdir())
    result = gateway("bridge", *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.decode().startswith(message) or message in result.stderr.decode()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == before
