"""CPython compiled to WASI runs a CGI script from a read-only volume."""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from samples.packages import CPYTHON
from tests.conftest import ROOT, Server, running
from tests.support.clock import assert_within
from tests.support.config import module
from tests.system.foreign.toolchains import SAMPLES, Toolchains


@pytest.fixture(scope="module")
def python_site(tmp_path_factory: pytest.TempPathFactory, toolchains: Toolchains) -> tuple[Path, str]:
    """A folder with CPython, its script and a writable volume, and the modules.toml for it."""
    directory = tmp_path_factory.mktemp("python")
    (directory / "python.wasm").symlink_to(CPYTHON.fetch(toolchains))
    (directory / "app").mkdir()
    (directory / "app/app.py").write_bytes((ROOT / "tests/system/foreign/app/app.py").read_bytes())
    (directory / "data").mkdir()
    app, limits = {"/app": {"path": "app", "read_only": True}}, {"time": "1s", "memory": "64MiB"}
    config = module("/py/...", "python.wasm", argv="python /app/app.py ${ARGS}", volumes=app | {"/data": "data"})
    config += module("/limited/...", "python.wasm", argv="python /app/app.py", volumes=app, limits=limits)
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


README = (ROOT / "samples/python/README.md").read_text()
SHORTEST, WSGI, BOTTLE = re.findall(r"^```python\n(.+?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory, toolchains: Toolchains, cache: Path) -> Iterator[Server]:
    """The programs of the README."""
    directory = tmp_path_factory.mktemp("examples")
    (directory / "python.wasm").symlink_to(CPYTHON.fetch(toolchains))
    (directory / "app").mkdir()
    toolchains()
    (bottle,) = SAMPLES.glob(".venv-samples/lib/python3*/site-packages/bottle.py")
    (directory / "app/bottle.py").write_bytes(bottle.read_bytes())
    config = ""
    for name, program in (("shortest", SHORTEST), ("wsgi", WSGI), ("bottle", BOTTLE)):
        (directory / f"app/{name}_example.py").write_text(program)
        volumes = {"/app": {"path": "app", "read_only": True}}
        config += module(f"/{name}/...", "python.wasm", argv=f"python /app/{name}_example.py", volumes=volumes)
    with running(directory, config, cache=cache) as server:
        yield server


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "answer"),
    [
        pytest.param("GET", "/shortest", "", 200, "hello from Python\n", id="shortest"),
        pytest.param("PUT", "/wsgi/a/b", "é", 200, "PUT /a/b: 2 bytes\n", id="WSGI"),
        pytest.param("GET", "/bottle/", "", 200, "¡Hola!", id="Bottle"),
        pytest.param("POST", "/bottle/upper", "é", 200, "É", id="Bottle-body"),
        pytest.param("GET", "/bottle/upper", "", 405, None, id="Bottle-method"),
    ],
)
def test_a_program_of_the_readme_answers(
    examples: Server, method: str, path: str, body: str, status: int, answer: str | None
) -> None:
    response = examples.client.request(method, examples.url + path, content=body.encode())
    assert (response.status_code, response.text) == (status, answer or response.text)


@pytest.mark.measures  # coverage makes each start longer
def test_python_is_ready_in_under_a_second_once_it_is_cached(python_site: tuple[Path, str], cache: Path) -> None:
    with running(*python_site, cache=cache):
        pass
    assert_within(min(_seconds_to_ready(*python_site, cache) for _ in range(3)), 1.0)


def _seconds_to_ready(directory: Path, config: str, cache: Path) -> float:
    started = time.monotonic()
    with running(directory, config, cache=cache):
        return time.monotonic() - started
