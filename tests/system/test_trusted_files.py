"""No guest changes what the gateway reads at its next start or reload: neither by its volumes, nor across them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support import guests
from tests.support.cli import gateway
from tests.support.config import config, guest, module
from tests.support.reloading import reload

WHOLE = module("/m", "m.wat", volumes={"/": "."})
"""What a beginner writes: the guest's root is the directory of the modules.toml."""


@pytest.mark.parametrize(("command", "exit_code"), [("serve", 3), ("check", 1), ("routes", 1)])
def test_a_start_refuses_a_guest_that_could_write_its_configuration(
    tmp_path: Path, command: str, exit_code: int
) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text(WHOLE)
    done = gateway(command, "modules.toml", cwd=tmp_path, COLUMNS="400")
    output = (done.stdout + done.stderr).decode()
    assert done.returncode == exit_code
    for words in ("[[module]] 1 (/m)", 'volumes."/" = ".": it holds this file, ', "set read_only = true"):
        assert words in output


def test_a_start_refuses_a_guest_that_could_write_an_env_file(tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/env").write_text("A=b\n")
    (tmp_path / "modules.toml").write_text(module("/m", "m.wat", volumes={"/": "data"}))
    done = gateway("serve", "modules.toml", "--env-file", "data/env", cwd=tmp_path)
    assert done.returncode == 3
    assert 'volumes."/" = "data": it holds the env file data/env, which guests could change' in done.stderr.decode()


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (module("/m", "m.wat", volumes={"/": "data"}), 'volumes."/" = "data": it holds the log '),
        (config(module("/m", "m.wat"), static=[{"route": "/s/...", "directory": "data"}]), "it holds the log "),
    ],
    ids=["volume", "published"],
)
def test_a_start_refuses_a_guest_that_could_write_the_log(tmp_path: Path, table: str, what: str) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "data").mkdir()
    (tmp_path / "modules.toml").write_text(table)
    command = f"{shlex.quote(sys.executable)} -m wagi_gateway serve modules.toml --cache-dir cache 2> data/log"
    assert subprocess.run(["sh", "-c", command], cwd=tmp_path, timeout=60).returncode == 3
    assert what in (tmp_path / "data/log").read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_refuses_it_too(serve: Serve, workers: int) -> None:
    server = serve(guest("/m", "m"), "--workers", str(workers), m=guests.HELLO)
    reload(server, WHOLE)
    assert 'volumes."/" = ".": it holds this file' in server.log
    assert "not reloaded: what was served before still is" in server.log
    assert server.get("/m").status_code == 200


def test_run_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    done = gateway("run", "m.wat", "--volume", "/src=.", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.decode().startswith(f"error: --volume /src=.: it holds the cache {tmp_path}/cache/")
    assert "; write GUEST=HOST:ro, or name another directory" in done.stderr.decode()
    assert gateway("run", "m.wat", "--volume", "/src=.:ro", cwd=tmp_path).returncode == 0


def test_check_shows_which_volumes_a_guest_may_write_to(tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "data").mkdir()
    volumes = {"/w": "data", "/r": {"path": "data", "read_only": True}, "/t": {"temporary": "scratch"}}
    (tmp_path / "modules.toml").write_text(module("/m", "m.wat", volumes=volumes))
    done = gateway("check", "modules.toml", cwd=tmp_path)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.decode().splitlines()]
    assert [row for row in rows if row and row[0].startswith("may ")] == [
        ["may write", "/m", '"/w": data'],
        ["may read", "/m", '"/r": data'],
        ["may write", "/m", '"/t": a temporary directory, scratch'],
    ]


def carries(function: str) -> str:
    """A guest that gives `secret` of its first directory the name `mine` in its second one; the body is the errno."""
    parameters = "i32 " * (7 if function == "path_link" else 6)
    flags = "(i32.const 0)" if function == "path_link" else ""
    return guests.says(
        b"",
        imports=f'(import "wasi_snapshot_preview1" "{function}" (func $carry (param {parameters}) (result i32)))'
        ' (data (i32.const 4096) "secretmine") (data (i32.const 2048) "content-type: text/plain\\0a\\0a00")',
        then=f"""(i32.store (i32.const 64) (call $carry (i32.const 3) {flags}
       (i32.const 4096) (i32.const 6) (i32.const 4) (i32.const 4102) (i32.const 4)))
      (i32.store8 (i32.const 2074) (i32.add (i32.const 48) (i32.div_u (i32.load (i32.const 64)) (i32.const 10))))
      (i32.store8 (i32.const 2075) (i32.add (i32.const 48) (i32.rem_u (i32.load (i32.const 64)) (i32.const 10))))
      (call $write (i32.const 1) (i32.const 2048) (i32.const 28))""",
    )


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("function", ["path_link", "path_rename"])
def test_nothing_is_carried_out_of_a_read_only_volume(
    serve: Serve, tmp_path: Path, function: str, read_only: bool
) -> None:
    """A hard link in a writable volume would make a file of the read-only one writable."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    (tmp_path / "first/secret").write_text("as it was")
    volumes = {"/a": {"path": "first", "read_only": read_only}, "/b": "second"}
    server = serve(module("/m", "m.wat", volumes=volumes), m=carries(function))
    errno = server.get("/m").text[-2:]
    assert (errno != "00", (tmp_path / "second/mine").exists()) == (read_only, not read_only)
    assert ((tmp_path / "first/secret").exists()) == (read_only or function == "path_link")
