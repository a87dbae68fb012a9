"""Each template of `new` is built with its toolchain, served, and answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import Server, running
from tests.system.foreign.toolchains import SAMPLES, Toolchains
from wagi_gateway.scaffold.language import LANGUAGES as ALL

TEXT = "text/plain; charset=utf-8"
WITH_LINES = ("c", "rust", "zig")
"""Languages whose compilers write DWARF."""
LANGUAGES = [name for name in ALL if name not in ("python", "javascript")]
"""Those that test_preinitialised.py does not have."""


@pytest.fixture(scope="module")
def environ(toolchains: Toolchains) -> Mapping[str, str]:
    """An environment with every toolchain, and wagi-gateway, in PATH."""
    environ = dict(toolchains())
    rustup = shutil.which("rustup", path=environ["PATH"])
    assert rustup, "the template for Rust is for rustup's compiler"
    subprocess.run([rustup, "target", "add", "wasm32-wasip1"], check=True, capture_output=True, timeout=300)
    environ["PATH"] += f":{Path(sys.executable).parent}"
    environ |= {"GOCACHE": str(SAMPLES / ".venv-samples/go-build"), "NODE_USE_SYSTEM_CA": "1"}
    return environ


def gateway(
    *arguments: str, cwd: Path, environ: Mapping[str, str], program: str | None = None
) -> subprocess.CompletedProcess[str]:
    command = [program] if program else [sys.executable, "-m", "wagi_gateway"]
    return subprocess.run(
        [*command, *arguments], cwd=cwd, env=environ, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, environ: Mapping[str, str]) -> Path:
    """A project with a module in each language, built."""
    folder = tmp_path_factory.mktemp("templates")
    first, *others = LANGUAGES
    made = [gateway("new", first, "--lang", first, "--route", f"/{first}/...", cwd=folder, environ=environ)]
    project = folder / first
    made += [gateway("add", language, "--lang", language, cwd=project, environ=environ) for language in others]
    assert [one.stderr for one in made if one.returncode or one.stderr] == []
    built = gateway("build", cwd=project, environ=environ)
    assert built.returncode == 0, built.stdout + built.stderr
    return project


@pytest.fixture(scope="module")
def examined(project: Path, cache: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The end of `doctor`, which compiles every module into the cache."""
    return gateway("doctor", "--cache-dir", str(cache), cwd=project, environ=environ)


@pytest.fixture(scope="module")
def server(project: Path, cache: Path, examined: object) -> Iterator[Server]:
    assert examined
    with running(project, project / "modules.toml", cache=cache) as server:
        yield server


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("method", "query", "body"),
    [("GET", "name=World", b""), ("POST", "", b"some text"), ("PUT", "a=%C3%A9&b", bytes(200_000))],
    ids=["GET", "POST", "PUT"],
)
def test_a_template_answers(server: Server, language: str, method: str, query: str, body: bytes) -> None:
    response = server.client.request(method, f"{server.url}/{language}/x?{query}", content=body)
    assert (response.status_code, response.headers["content-type"]) == (200, TEXT)
    assert response.text.splitlines() == [
        f"¡Hola! This is {language}.",
        f"method: {method}",
        f"query: {query}",
        f"body: {len(body)} bytes",
    ]
    request_id = response.headers["x-request-id"]
    server.wait_for_log(rf"guest: {language} has answered route=/{language}/\.\.\. id={request_id}")


def test_doctor_finds_nothing_missing(examined: subprocess.CompletedProcess[str]) -> None:
    lines = examined.stdout.splitlines()
    assert (examined.returncode, lines[-1]) == (0, "0 errors, 0 warnings"), examined.stdout
    names = [line.split()[1].strip("/.:") for line in lines if "names of functions, and source lines" in line]
    assert names == [language for language in LANGUAGES if language in WITH_LINES]
    assert [line for line in lines if len(line) > 80] == []


def test_a_change_is_built_and_its_absence_is_found(project: Path, cache: Path, environ: Mapping[str, str]) -> None:
    source = project / "main.c"
    os.utime(source)
    doctor = ("doctor", "--cache-dir", str(cache))
    assert "/c/...: main.wasm is older than main.c" in gateway(*doctor, cwd=project, environ=environ).stdout
    assert gateway("build", "/c/...", cwd=project, environ=environ).returncode == 0
    assert "older than" not in gateway(*doctor, cwd=project, environ=environ).stdout


def test_a_compiler_error_is_shown_unchanged(project: Path, environ: Mapping[str, str]) -> None:
    source = project / "main.c"
    before = source.read_text()
    source.write_text("int main(void) { return nothing; }\n")
    try:
        result = gateway("build", "/c/...", cwd=project, environ=environ)
    finally:
        source.write_text(before)
    assert result.returncode == 1
    assert "main.c:1:25: error: use of undeclared identifier 'nothing'" in result.stderr
