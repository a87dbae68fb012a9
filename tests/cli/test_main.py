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
    result = gateway(command, "modules.toml", cwd=folder, COLUMNS="400")
    output = (result.stdout + result.stderr).decode()
    assert result.returncode == exit_code
    assert [mistake for mistake in MISTAKES if mistake not in output] == []
    assert "Traceback" not in output


def test_routes(folder: Path) -> None:
    output = gateway("routes", "modules.toml", cwd=folder).stdout.decode()
    assert output.splitlines() == [
        "/m",
        "  module          m.wat (_start)",
        "  limits          time 30s, memory 256MiB, concurrency 16",
        "  volumes         none",
        "  environment     none",
        "  allowed hosts   none",
    ]


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
        (["m.wat", "--time", "soon"], '--time "soon": not a duration'),
        (["nothere.toml"], "cannot be read"),
        (["modules.toml", "--volume", "/a=b"], "goes with a module"),
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


def test_run_shows_the_tabs_of_standard_error(folder: Path) -> None:
    (folder / "m.wat").write_text(guests.says(b"content-type: text/plain\n\n", stderr=b"a\tb\\t\x1bc\n"))
    assert gateway("run", "m.wat", cwd=folder).stderr == b"a\tb\\t\\x1bc\n"


def test_run_answers_as_the_configuration_says(folder: Path) -> None:
    more = (
        f'environment = {{ MODE = "file", OTHER = "x" }}\nargv = "env ${{ARGS}}"\nvolumes = {{ "/v" = "{folder}/v" }}'
    )
    (folder / "v").mkdir()
    (folder / "modules.toml").write_text(guest("/m", "m") + module("/env/...", ENV, more))
    for target in ([], ["modules.toml"]):
        result = gateway("run", *target, "--path", "/env/a?x=1&y", "-e", "OTHER=y", "--body", cwd=folder)
        lines = result.stdout.decode().splitlines()
        for line in ("PATH_INFO=/a", "SCRIPT_NAME=/env", "QUERY_STRING=x=1&y", "MODE=file", "OTHER=y"):
            assert line in lines
        assert not result.stdout.startswith(b"HTTP/")


def test_run_lists_the_routes_where_none_answers(folder: Path) -> None:
    result = gateway("run", "--path", "/n", cwd=folder)
    assert result.returncode == 4
    assert result.stderr == b"error: --path: no route answers /n; did you mean /m? The routes: /m\n"


@pytest.mark.parametrize(
    ("options", "status"),
    [(["-d", "abcd"], 200), (["-d", "abcd", "--limit-body", "3"], 413), (["-d", "abcd", "--limit_body", "3B"], 413)],
)
def test_run_has_options_for_limits(folder: Path, options: list[str], status: int) -> None:
    result = gateway("run", str(ECHO), *options, cwd=folder)
    assert result.stdout.startswith(b"HTTP/1.1 %d " % status)
    reason = b"warning: 413: the request body has 4 bytes, more than limits.body (3)\n"
    assert result.stderr == (reason if status == 413 else b"")


def test_run_says_why_the_gateway_answers(folder: Path) -> None:
    (folder / "s").mkdir()
    static = '[[static]]\nroute = "/s/..."\ndirectory = "s"\n'
    (folder / "modules.toml").write_text(guest("/m", "m") + static)
    for options, message in (
        (["--path", "/m", "-X", "TRACE"], "405: TRACE is not answered"),
        (["--path", "/m", "-H", "content-length: x"], "400: "),
        (["--path", "/s/none"], "404: there is no such file"),
        (["--path", "/s/a", "-X", "POST"], "405: "),
    ):
        result = gateway("run", *options, cwd=folder)
        assert result.returncode == 4
        assert result.stderr.decode().startswith(f"warning: {message}")


def test_run_prints_what_the_module_prints(folder: Path) -> None:
    result = gateway("run", "m.wat", "--raw", cwd=folder)
    assert (result.stdout, result.returncode) == (b"content-type: text/plain\n\nhello\n", 0)


def test_run_prints_one_thing(folder: Path) -> None:
    result = gateway("run", "m.wat", "--raw", "-i", cwd=folder)
    assert result.returncode == 2
    assert b"give one of them" in result.stderr


SPIN = """
spin_manifest_version = 2
[application]
name = "shop"
version = "1.0.0"
[[trigger.http]]
route = "/m/:id"
component = "shop"
executor = { type = "wagi" }
[component.shop]
source = "m.wat"
build = { command = "touch built" }
files = [{ source = "data", destination = "/data" }]
"""


def test_convert_makes_a_configuration_of_a_spin_manifest(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "spin.toml").write_text(SPIN)
    result = gateway("check", "spin.toml", cwd=folder, COLUMNS="400")
    assert b"is a Spin manifest; run: wagi-gateway convert spin.toml > modules.toml" in result.stdout
    result = gateway("convert", "spin.toml", cwd=folder)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.startswith(b"# shop 1.0.0, converted from spin.toml; paths are relative to its directory.\n\n")
    (folder / "modules.toml").write_bytes(result.stdout)
    assert gateway("check", cwd=folder).returncode == 0
    assert not (folder / "built").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["modules.toml"], b"is not a Spin manifest"),
        (["spin.toml", "--settings", "modules.toml"], b"--settings: goes with a Pod manifest"),
        (["nothere.yaml"], b"cannot be read"),
    ],
)
def test_convert_refuses(folder: Path, arguments: list[str], message: bytes) -> None:
    (folder / "spin.toml").write_text(SPIN)
    result = gateway("convert", *arguments, cwd=folder)
    assert result.returncode == 1
    assert message in result.stderr


@pytest.mark.parametrize(("command", "code"), [("serve", 3), ("routes", 1), ("run", 3), ("check", 1)])
def test_without_a_file_there_has_to_be_a_modules_toml(tmp_path: Path, command: str, code: int) -> None:
    result = gateway(command, cwd=tmp_path, COLUMNS="400")
    assert result.returncode == code
    assert b"there is none in this directory; name a configuration" in result.stdout + result.stderr


def test_short_commands_import_neither_wasmtime_nor_pydantic(tmp_path: Path) -> None:
    code = "import sys, wagi_gateway.cli.main; print({'wasmtime', 'pydantic', 'rich', 'asyncio'} & sys.modules.keys())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert result.stdout == "set()\n"


def test_schema_accepts_what_the_server_accepts(folder: Path) -> None:
    schema = json.loads(gateway("schema", cwd=folder).stdout)
    jsonschema.validate({"module": [{"route": "/x", "module": "x", "limits": {"time": "3s"}}]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"module": [{"route": "/x", "modul": "x"}]}, schema)


def test_serve_prints_routes_and_ready(serve: Serve) -> None:
    server = serve(guest("/m/...", "m"), m=guests.HELLO)
    assert server.stdout == [f"{server.url}/m (and below) -> m.wat (_start)", f"Ready: serving on {server.url}"]


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
