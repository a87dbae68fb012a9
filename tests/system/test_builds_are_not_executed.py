"""The `build` of a module is executed by `build` and `dev` alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import running
from tests.support import guests
from tests.support.cli import gateway
from tests.support.config import guest, module
from tests.support.reloading import reload


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose modules.toml has a build that leaves the file `executed`, and then waits."""
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text(built(tmp_path))
    return tmp_path


def built(folder: Path, route: str = "/m") -> str:
    command = ["sh", "-c", f"touch {folder}/executed; exec sleep 600"]
    return module(route, "m.wat", build={"command": command, "watch": ["*.wat"]})


def is_executed(folder: Path) -> bool:
    """Whether the build has left its file, or has a process."""
    marker = f"{folder}/executed".encode()
    return (folder / "executed").exists() or any(marker in _command(path) for path in Path("/proc").glob("[0-9]*"))


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # the process has ended
        return b""


@pytest.mark.parametrize(
    "arguments",
    [
        "check modules.toml",
        "run modules.toml --path /m",
        "run m.wat",
        "doctor modules.toml",
        "add second --lang wat",
    ],
)
def test_no_other_command_executes_a_build(folder: Path, arguments: str) -> None:
    (folder / "newer").touch()
    result = gateway(*arguments.split(), cwd=folder)
    assert b"Traceback" not in result.stderr
    assert not is_executed(folder)


@pytest.mark.parametrize("options", [(), ("--workers", "2"), ("--reload",)], ids=["serve", "workers", "reload"])
def test_a_server_executes_no_build(folder: Path, cache: Path, options: tuple[str, ...]) -> None:
    with running(folder, folder / "modules.toml", *options, cache=cache) as server:
        assert server.get("/m").text == "hello world\n"
        (folder / "m.wat").write_text(guests.says(guests.CONTENT_TYPE + b"changed"))
        (folder / "modules.toml").write_text(built(folder) + guest("/n", "m"))
        if "--reload" in options:
            server.wait_for_log("reloaded")
        else:
            reload(server)
        assert server.get("/n").text == "changed"
        assert not is_executed(folder)


def test_a_pod_has_no_build(folder: Path) -> None:
    modules = json.dumps({"m": {"route": "/m", "build": {"command": ["touch", f"{folder}/executed"]}}})
    (folder / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations:\n"
        f"    alpha.wagi.krustlet.dev/modules: '{modules}'\n"
        "spec:\n  containers:\n  - name: m\n    image: example.com/m:v1\n"
    )
    result = gateway("serve", "pod.yaml", cwd=folder)
    assert result.returncode == 3
    assert "build: does not belong here" in result.stderr.decode()
    assert not is_executed(folder)


def test_the_same_build_is_executed_by_build(folder: Path) -> None:
    """The build of these tests would leave its file."""
    path = folder / "modules.toml"
    path.write_text(path.read_text().replace("exec sleep 600", "exit 0"))
    assert gateway("build", cwd=folder).returncode == 0
    assert (folder / "executed").exists()
