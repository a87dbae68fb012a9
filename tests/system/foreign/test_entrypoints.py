"""Modules with several entrypoints, with `_routes`, and reactors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import Serve, Server, running
from tests.support.config import guest, module
from tests.support.guests import wat_string
from tests.system.foreign.toolchains import Toolchains, build_c

_WASI = '(import "wasi_snapshot_preview1"'
_PROC_EXIT = f'{_WASI} "proc_exit" (func $exit (param i32)))'


def prints(texts: Mapping[str, str], *, imports: str = "", then: str = "") -> str:
    """A module that exports one function for each text, which prints the text; `then` is the end of `_routes`."""
    data, functions, at = "", "", 1024
    for name, text in texts.items():
        size = len(text.encode())
        data += f"(data (i32.const {at}) {wat_string(text.encode())})\n"
        functions += f"""(func (export "{name}")
            (i32.store (i32.const 0) (i32.const {at})) (i32.store (i32.const 4) (i32.const {size}))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            {then if name == "_routes" else ""})\n"""
        at += size
    return f"""(module
        {_WASI} "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32))) {imports}
        (memory (export "memory") 1) {data} {functions})"""


def page(text: str) -> str:
    """The smallest response with this body."""
    return f"content-type: text/plain\n\n{text}"


_LINES = b"/exact one\n\n  /deep/...\ttwo  \n"
_BINARY = b"content-type: application/octet-stream\n\n"
# Each entrypoint prints its own letter and the environment, each variable ended by NUL.
ROUTES = f"""(module
 {_WASI} "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
 {_WASI} "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
 {_WASI} "environ_get" (func $environ_get (param i32 i32) (result i32)))
 {_PROC_EXIT}
 (memory (export "memory") 2)
 (data (i32.const 1024) {wat_string(_LINES)})
 (data (i32.const 1100) {wat_string(_BINARY)})
 (func $write (param $at i32) (param $length i32)
  (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length))
  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
 (func $respond (param $letter i32)
  (call $write (i32.const 1100) (i32.const {len(_BINARY)}))
  (i32.store8 (i32.const 16) (local.get $letter))
  (call $write (i32.const 16) (i32.const 2))
  (drop (call $environ_sizes_get (i32.const 20) (i32.const 24)))
  (drop (call $environ_get (i32.const 4096) (i32.const 65536)))
  (call $write (i32.const 65536) (i32.load (i32.const 24))))
 (func (export "_routes") (call $write (i32.const 1024) (i32.const {len(_LINES)})) (call $exit (i32.const 0)))
 (func (export "one") (call $respond (i32.const 49)))
 (func (export "two") (call $respond (i32.const 50)))
 (func (export "_start") (call $respond (i32.const 83))))"""


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """One module on four routes, each with the module's own routes below."""
    directory = tmp_path_factory.mktemp("routes")
    (directory / "routes.wat").write_text(ROUTES)
    parents = ("/", "/slash/", "/plain", "/prefix/...")
    config = "".join(guest(parent, "routes") for parent in parents)
    with running(directory, config, cache=cache) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "letter", "matched", "script_name", "path_info"),
    [
        ("/", "S", "/", "/", ""),
        ("/exact", "1", "/exact", "/exact", ""),
        ("/deep", "2", "/deep/...", "/deep", ""),
        ("/deep/x%20y/", "2", "/deep/...", "/deep", "/x y/"),
        ("/slash/", "S", "/slash/", "/slash/", ""),
        ("/slash/exact", "1", "/slash/exact", "/slash/exact", ""),
        ("/slash/deep/", "2", "/slash/deep/...", "/slash/deep", "/"),
        ("/plain", "S", "/plain", "/plain", ""),
        ("/plain/exact", "1", "/plain/exact", "/plain/exact", ""),
        ("/plain/deep/x", "2", "/plain/deep/...", "/plain/deep", "/x"),
        ("/prefix", "S", "/prefix/...", "/prefix", ""),
        ("/prefix/exact", "1", "/prefix/exact", "/prefix/exact", ""),
        ("/prefix/exact/", "S", "/prefix/...", "/prefix", "/exact/"),
        ("/prefix/deep/x/y", "2", "/prefix/deep/...", "/prefix/deep", "/x/y"),
        ("/prefix/deeper", "S", "/prefix/...", "/prefix", "/deeper"),
    ],
)
def test_routes_lead_to_their_entrypoints(
    routes: Server, path: str, letter: str, matched: str, script_name: str, path_info: str
) -> None:
    found, *variables = routes.get(path).text.rstrip("\0").split("\0")
    environ = dict(variable.split("=", 1) for variable in variables)
    answer = (found, environ["X_MATCHED_ROUTE"], environ["SCRIPT_NAME"], environ["PATH_INFO"])
    assert answer == (letter, matched, script_name, path_info)


@pytest.mark.parametrize("path", ["/slash", "/plain/", "/plain/exact/", "/Exact", "/deeper", "/plain/other"])
def test_other_paths_have_no_route(routes: Server, path: str) -> None:
    response = routes.get(path)
    assert (response.status_code, response.text.splitlines()[0]) == (404, "Not Found")


def test_routes_need_no_start(serve: Serve) -> None:
    wat = prints({"_routes": "/one one\n/two two\n", "one": page("1"), "two": page("2")})
    server = serve(guest("/api/...", "guest"), guest=wat)
    assert [server.get(f"/api/{path}").text for path in ("one", "two")] == ["1", "2"]
    assert [server.get(path).status_code for path in ("/api", "/api/", "/api/three")] == [404, 404, 404]
    server.wait_for_log("only its _routes are served")


def test_routes_that_are_printed_carry_the_module_s_settings(serve: Serve) -> None:
    config = module("/...", "guest.wat", argv="name ${SCRIPT_NAME} ${ARGS}", environment={"OWN": "yes"})
    server = serve(config, guest=ROUTES)
    assert "\0OWN=yes\0" in "\0" + server.get("/deep").text
    assert server.get("/exact").text.startswith("1\0")


def test_entrypoints_are_configured(serve: Serve) -> None:
    config = guest("/", "guest")
    config += module("/one", "guest.wat", entrypoint="one") + module("/two/...", "guest.wat", entrypoint="two words")
    server = serve(config, guest=prints({"_start": page("start"), "one": page("1"), "two words": page("2")}))
    assert [server.get(path).text for path in ("/", "/one", "/two/x")] == ["start", "1", "2"]


REACTOR = f"""(module
 {_WASI} "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 1)
 (global $digit (mut i32) (i32.const 48))
 (data (i32.const 1024) "\\00\\04\\00\\00\\1a\\00\\00\\00")
 (data (i32.const 1040) {wat_string(page("").encode())})
 (func $write (param $at i32) (param $length i32)
  (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length))
  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
 (func $print_digit
  (i32.store8 (i32.const 16) (global.get $digit))
  (call $write (i32.const 16) (i32.const 1)))
 (func (export "_initialize") (global.set $digit (i32.add (global.get $digit) (i32.const 1))))
 (func (export "handle")
  (call $write (i32.const 1040) (i32.const {len(page(""))}))
  (call $print_digit)
  (global.set $digit (i32.const 57)))
 (func (export "_routes")
  (i32.store8 (i32.const 32) (i32.const 47)) (call $write (i32.const 32) (i32.const 1))
  (call $print_digit)
  (i64.store (i32.const 40) (i64.const 0x0a656c646e616820)) (call $write (i32.const 40) (i32.const 8))))"""


def test_a_reactor_is_initialized_once_for_each_request(serve: Serve) -> None:
    server = serve(module("/...", "guest.wat", entrypoint="handle"), guest=REACTOR)
    assert [server.get("/").text for _ in range(3)] == ["1", "1", "1"]
    assert "/1 -> guest.wat (handle)" in "\n".join(server.stdout), "_routes runs after _initialize"


def test_a_reactor_from_c_runs_its_constructors(toolchains: Toolchains, tmp_path: Path, cache: Path) -> None:
    build_c("system/foreign/reactor.c", tmp_path / "reactor.wasm", toolchains, "-mexec-model=reactor")
    config = module("/c", "reactor.wasm", entrypoint="count")
    with running(tmp_path, config, cache=cache) as server:
        assert [server.get("/c").text for _ in range(2)] == ["constructed 1 time(s)\n"] * 2
        assert server.get("/c/path").text == "/c/path\n"


def prints_routes(lines: str, then: str = "") -> str:
    """A module with one entrypoint, `one`, and a `_routes` that prints these lines."""
    return prints({"_routes": lines, "one": page("")}, imports=_PROC_EXIT, then=then)


BAD = {
    "empty": (prints_routes(""), "it printed nothing; a line is a path and an entrypoint"),
    "blank": (prints_routes("/one one\n  \n"), '_routes: it printed "  "'),
    "one-column": (prints_routes("/one\n"), '_routes: it printed "/one"'),
    "three-columns": (prints_routes("/one one two\n"), '_routes: it printed "/one one two"'),
    "exit-1": (prints_routes("/one one\n", "(call $exit (i32.const 1))"), "the guest exited with code 1"),
    "trap": (prints_routes("/one one\n", "unreachable"), "unreachable"),
    "loop": (prints_routes("/one one\n", "(loop (br 0))"), "limits.time"),
    "no-such-export": (prints_routes("/one won\n"), "did you mean one?"),
    "bad-path": (prints_routes("/../one one\n"), '"/../one"'),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> subprocess.CompletedProcess[str]:
    """The output of `serve` for modules with an invalid `_routes`."""
    directory = tmp_path_factory.mktemp("bad")
    config = '[limits]\ntime = "500ms"\n'
    for name, (wat, _) in BAD.items():
        (directory / f"{name}.wat").write_text(wat)
        config += guest(f"/{name}", name)
    (directory / "modules.toml").write_text(config)
    command = [
        sys.executable,
        "-m",
        "wagi_gateway",
        "serve",
        str(directory / "modules.toml"),
        "--listen",
        "127.0.0.1:0",
    ]
    return subprocess.run([*command, "--cache-dir", str(cache)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", BAD)
def test_wrong_routes_are_refused_at_start_up(refused: subprocess.CompletedProcess[str], name: str) -> None:
    assert refused.returncode == 3
    assert any(f"(/{name})" in line and BAD[name][1] in line for line in refused.stderr.splitlines()), refused.stderr
