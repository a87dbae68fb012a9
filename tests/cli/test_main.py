"""The commands, most of them in processes of their own: output and exit codes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.conftest import ROOT, Serve
from tests.support import guests
from tests.support.cli import gateway
from tests.support.config import config, guest, module
from tests.support.publishing import run

TEN_MISTAKES = """
[server]
listen = "here"
[limits]
time = "soon"
[log]
formt = "json"
[[module]]
route = "/a"
module = "nothere.wasm"
[[module]]
route = "b"
module = "m.wat"
[[module]]
route = "/c"
module = "m.wat"
entrypoint = "strat"
[[module]]
route = "/d"
module = "m.wat"
volumes = { "/data" = "nodirectory" }
limits = { memory = "lots" }
[[module]]
route = "/e"
module = "imports.wat"
[[module]]
route = "/d"
module = "m.wat"
environment = { PATH_INFO = "x" }
"""
MISTAKES = (
    'server.listen = "here"',
    'limits.time = "soon"',
    "log.formt: unknown key; did you mean format?",
    "nothere.wasm",
    'route = "b": a route starts with "/"; write "/b"',
    "did you mean _start?",
    "nodirectory",
    'limits.memory = "lots"',
    "imports env.missing",
    "environment.PATH_INFO",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a guest and a valid modules.toml."""
    (tmp_path / "m.wat").write_text(guests.says(b"content-type: text/plain\n\nhello\n", stderr=b"on stderr\n"))
    (tmp_path / "imports.wat").write_text('(module (import "env" "missing" (func)))')
    (tmp_path / "modules.toml").write_text(guest("/m", "m"))
    return tmp_path


def test_version(tmp_path: Path) -> None:
    assert gateway("--version", cwd=tmp_path).stdout.startswith(b"wagi-gateway ")


def test_the_help_imports_no_library_of_the_server(tmp_path: Path) -> None:
    libraries = ("httptools", "pydantic", "rich", "starlette", "uvicorn", "wasmtime")
    code = f"import sys, wagi_gateway.cli.main\nprint(*[name for name in {libraries} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("group", [[], ["cache"]], ids="commands|of the cache".split("|"))
def test_no_command_is_described_by_half_a_sentence(tmp_path: Path, group: list[str]) -> None:
    commands = gateway(*group, "--help", cwd=tmp_path).stdout.decode().partition("\nCommands:\n")[2]
    assert [line for line in commands.splitlines() if not line.endswith(".") or line.endswith("...")] == []
    assert commands


def test_check(folder: Path) -> None:
    result = gateway("check", "modules.toml", cwd=folder)
    assert result.returncode == 0
    assert "m.wat (_start)" in result.stdout.decode()


@pytest.mark.parametrize(("command", "exit_code"), [("check", 1), ("routes", 1), ("serve", 3)])
def test_every_mistake_is_reported_at_once(folder: Path, command: str, exit_code: int) -> None:
    (folder / "modules.toml").write_text(TEN_MISTAKES)
    result = gateway(command, "modules.toml", cwd=folder)
    output = (result.stdout + result.stderr).decode()
    assert result.returncode == exit_code
    assert [mistake for mistake in MISTAKES if mistake not in output] == []
    assert "Traceback" not in output


def test_routes(folder: Path) -> None:
    output = gateway("routes", "modules.toml", cwd=folder).stdout.decode()
    for cell in ("/m", "m.wat", "_start", "30s", "256MiB", "none"):
        assert cell in output


def test_run(folder: Path) -> None:
    result = gateway("run", "m.wat", cwd=folder)
    head, _, body = result.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n")
    assert (body, result.stderr, result.returncode) == (b"hello\n", b"on stderr\n", 0)


@pytest.mark.parametrize(
    ("wat", "status", "exit_code"),
    [
        (guests.says(b"status: 301\nlocation: /x\n\n"), b"301 Moved Permanently", 0),
        (guests.says(b"status: 404\n\n"), b"404 Not Found", 4),
        (guests.says(b"status: 599\n\n"), b"599", 5),
        (guests.TRAP, b"500 Internal Server Error", 5),
        (guests.NO_OUTPUT, b"502 Bad Gateway", 5),
    ],
)
def test_run_exits_with_the_class_of_the_status(folder: Path, wat: str, status: bytes, exit_code: int) -> None:
    (folder / "m.wat").write_text(wat)
    result = gateway("run", "m.wat", cwd=folder)
    assert result.stdout.split(b"\r\n")[0] == b"HTTP/1.1 " + status
    assert result.returncode == exit_code


ENV = ROOT / "samples" / "c" / "env.wasm"
ECHO = ENV.with_name("echo.wasm")


def test_run_says_the_request(folder: Path) -> None:
    arguments = "--path /a%20b --query x=1&y --method PUT --header X-Key:1 --data body --env MODE=test".split()
    lines = gateway("run", str(ENV), *arguments, cwd=folder).stdout.decode().splitlines()
    for line in (
        "PATH_INFO=/a b",
        "QUERY_STRING=x=1&y",
        "REQUEST_METHOD=PUT",
        "HTTP_X_KEY=1",
        "MODE=test",
        "CONTENT_LENGTH=4",
        "stdin: 4 bytes",
    ):
        assert line in lines


@pytest.mark.parametrize(("data", "stdin"), [("-", b"from stdin"), ("@file", b""), ("from stdin", b"")])
def test_run_takes_a_body(folder: Path, data: str, stdin: bytes) -> None:
    (folder / "file").write_bytes(b"from stdin")
    assert gateway("run", str(ECHO), "--data", data, cwd=folder, stdin=stdin).stdout.endswith(b"\r\n\r\nfrom stdin")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothere.wasm"], "there is no file"),
        (["m.wat", "--header", "x"], 'write "Name: value"'),
        (["m.wat", "--volume", "x"], "write GUEST=HOST"),
        (["m.wat", "--volume", "/a=nothere"], "there is no directory"),
        (["m.wat", "--env", "x"], "write NAME=VALUE"),
        (["m.wat", "--env", "PATH_INFO=x"], "the request sets this variable"),
        (["m.wat", "--data", "@nothere"], "cannot be read"),
        (["m.wat", "--entrypoint", "x"], "there is no such export"),
    ],
)
def test_run_says_what_is_wrong(folder: Path, arguments: list[str], message: str) -> None:
    environment = {"XDG_CACHE_HOME": str(folder / "cache")}
    stderr = run("run", *arguments, cwd=folder, code=3, environment=environment)[1]
    assert message in stderr
    assert "Traceback" not in stderr


def test_run_says_what_is_wrong_in_a_process_of_its_own(folder: Path) -> None:
    result = gateway("run", "nothere.wasm", cwd=folder)
    assert result.returncode == 3
    assert b"there is no file" in result.stderr
    assert b"Traceback" not in result.stderr


def test_run_volumes(folder: Path) -> None:
    result = gateway("run", "m.wat", "--volume", f"/data={folder}:ro", cwd=folder)
    assert result.returncode == 0


def test_schema_accepts_what_the_server_accepts(folder: Path) -> None:
    schema = json.loads(gateway("schema", cwd=folder).stdout)
    jsonschema.validate({"module": [{"route": "/x", "module": "x", "limits": {"time": "3s"}}]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"module": [{"route": "/x", "modul": "x"}]}, schema)


def test_serve_prints_routes_and_ready(serve: Serve) -> None:
    server = serve(guest("/m/...", "m"), m=guests.HELLO)
    assert server.stdout == [f"{server.url}/m/... -> m.wat (_start)", f"Ready: serving on {server.url}"]


def test_serve_takes_the_environment(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("A=file\nB=file\n")
    text = config(module("/env", ENV), environment={"A": "config", "C": "config"})
    server = serve(text, "-e", "A=option", "--env-file", str(tmp_path / "file"))
    lines = server.get("/env").text.splitlines()
    assert [line for line in lines if line[:2] in ("A=", "B=", "C=")] == ["A=option", "B=file", "C=config"]


def test_serve_logs_json(serve: Serve) -> None:
    server = serve(guest("/m", "m"), "--log-format", "json", m=guests.HELLO)
    server.get("/m?x=1")
    line = json.loads(server.wait_for_log(r'\{.*"GET /m.*\}')[0])
    assert (line["message"], line["status"], line["route"], line["bytes"]) == ("GET /m?x=1", 200, "/m", 12)
    assert {"ms", "guest_ms", "id", "client", "time", "level"} <= line.keys()


def test_serve_on_an_address_in_use(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = gateway("serve", "modules.toml", "--listen", address, cwd=folder)
    assert result.returncode == 3
    assert f"cannot serve on {address}: Address already in use" in result.stderr.decode()


@pytest.mark.parametrize("option", [["--listen", "x"], ["--listen", "127.0.0.1:70000"]])
def test_serve_blames_the_command_line(folder: Path, option: list[str]) -> None:
    result = gateway("serve", "modules.toml", *option, cwd=folder)
    assert result.returncode == 3
    assert result.stderr.startswith(b"error: command line: ")


def test_completion_is_offered(tmp_path: Path) -> None:
    assert b"--install-completion" in gateway("--help", cwd=tmp_path).stdout
