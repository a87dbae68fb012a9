"""A release of wasmtime with another ABI: guests run through the public API, and the operator is warned."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import OTHER_RELEASE, running
from tests.support import guests
from tests.support.config import guest
from wagi_gateway.compiler.abi import ABI_VERSION, WASMTIME_VERSION

WARNING = (
    f"wasmtime {OTHER_RELEASE} is installed, {ABI_VERSION} is wanted: guests run through the public API, which "
    f"costs each request 0.4 ms more, or so; pip install wasmtime=={ABI_VERSION}"
)


def write_site(directory: Path) -> str:
    """Writes a site with one guest; returns its modules.toml."""
    (directory / "hello.wat").write_text(guests.HELLO)
    text = guest("/hello", "hello")
    (directory / "modules.toml").write_text(text)
    return text


def python(*arguments: str, cwd: Path, pythonpath: str = "") -> str:
    """Standard output and error of a Python process that succeeds, on one line."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cwd / "cache"), "COLUMNS": "400"}
    if pythonpath:
        environment["PYTHONPATH"] = pythonpath
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return " ".join((done.stdout + done.stderr).split())


def test_the_pinned_release_is_the_one_that_fits(tmp_path: Path) -> None:
    write_site(tmp_path)
    assert WASMTIME_VERSION == ABI_VERSION
    assert "wasmtime" not in python("-m", "wagi_gateway", "check", "modules.toml", cwd=tmp_path)


def test_check_warns(tmp_path: Path, other_release: str) -> None:
    write_site(tmp_path)
    assert WARNING in python("-m", "wagi_gateway", "check", "modules.toml", cwd=tmp_path, pythonpath=other_release)


def test_serve_warns_and_answers(tmp_path: Path, cache: Path, other_release: str) -> None:
    with running(tmp_path, write_site(tmp_path), cache=cache, environment={"PYTHONPATH": other_release}) as server:
        assert server.get("/hello").text == "hello world\n"
        assert WARNING in server.log


def test_what_binds_the_c_api_is_not_imported(tmp_path: Path, other_release: str) -> None:
    write_site(tmp_path)
    program = """
import sys
from pathlib import Path
from wagi_gateway.config.file import read_config
from wagi_gateway.site.load import load
load(read_config(Path("modules.toml")))
print(*sorted(name for name in sys.modules if name == "wagi_gateway.sandbox.capi"))
"""
    assert python("-c", program, cwd=tmp_path, pythonpath=other_release) == ""
    assert python("-c", program, cwd=tmp_path) == "wagi_gateway.sandbox.capi"
