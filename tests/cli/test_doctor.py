"""The command `doctor`."""

from __future__ import annotations

from pathlib import Path

from tests.support import guests
from tests.support.cli import gateway
from tests.support.config import config, module


def test_doctor_fits_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "spin.toml").touch()
    deep = "deep/" * 30
    text = config(
        module("/m", "m.wat"),
        module("/n", f"{deep}n.wasm", build={"command": ["nothere"], "watch": ["a\x1b[1m"]}),
    )
    (tmp_path / "modules.toml").write_text(text)
    result = gateway("doctor", cwd=tmp_path)
    lines = result.stdout.decode().splitlines()
    assert result.returncode == 1
    assert [line for line in lines if len(line) > 80 or not line.isprintable()] == []
    assert "error    /n: there is no program nothere in PATH" in lines
    assert "         install it, or change build.command" in lines
    assert lines[-1] == "2 errors, 3 warnings"


def test_doctor_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "other.toml").write_text(config(module("/m", "m.wat")))
    result = gateway("doctor", "other.toml", cwd=tmp_path)
    assert (result.returncode, result.stdout.decode().splitlines()[-1]) == (0, "0 errors, 0 warnings")


def test_doctor_without_a_file(tmp_path: Path) -> None:
    result = gateway("doctor", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr == b"error: modules.toml: there is none in this directory; name a configuration\n"
    (tmp_path / "spin.toml").touch()
    assert b"wagi-gateway convert spin.toml > modules.toml" in gateway("doctor", cwd=tmp_path).stderr
