"""The wheel and the sdist: their files, and the wheel in an environment with its dependencies alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import httpx
import pytest

import wagi_gateway
from tests.conftest import INSTALLATION, ROOT, START, wait_until
from tests.support import guests
from tests.support.config import config, guest
from tests.support.locks import locked

pytestmark = pytest.mark.timeout(INSTALLATION)  # the dependencies are installed

VERSION = wagi_gateway.__version__
PACKAGE = {
    str(path.relative_to(ROOT))
    for path in (ROOT / "wagi_gateway").rglob("*")
    if path.is_file() and path.suffix != ".pyc"
}
METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
BESIDE = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
"""Files of the sdist beside the package."""


def build(source: Path, target: str, directory: Path) -> Path:
    """Builds a distribution, without the network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(directory)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return next(directory.glob("*.whl" if target == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel and the packages of requirements.txt."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, with_pip=False)
    python = directory / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*command, "--disable-pip-version-check"], check=True, capture_output=True)
    dependencies = tmp_path_factory.mktemp("dependencies")
    for name in locked("requirements.txt"):
        _link(name, dependencies)
    site_packages = next(directory.glob("lib/python*/site-packages"))
    (site_packages / "dependencies.pth").write_text(f"{dependencies}\n")
    return directory / "bin"


def _link(name: str, directory: Path) -> None:
    """Links the files of an installed distribution from site-packages."""
    found = distribution(name)
    tops = {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}
    for top in tops:
        link = directory / top
        if not link.exists():
            link.symlink_to(str(found.locate_file(top)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A `modules.toml` with its module, far from the repository."""
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text(config(guest("/hello", "hello"), cache={"directory": "cache"}))
    return tmp_path


def run(*command: str | Path, cwd: Path) -> str:
    """The standard output of a program that succeeds."""
    finished = subprocess.run(command, cwd=cwd, env=_environment(), capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_package_and_its_metadata(wheel: Path) -> None:
    assert wheel.name == f"wagi_gateway-{VERSION}-py3-none-any.whl"
    assert set(contents(wheel)) == PACKAGE | {f"wagi_gateway-{VERSION}.dist-info/{name}" for name in METADATA}
    assert "wagi_gateway/py.typed" in PACKAGE


def test_the_wheel_is_pure_python_and_has_one_program(wheel: Path) -> None:
    files = contents(wheel)
    about = files[f"wagi_gateway-{VERSION}.dist-info/WHEEL"].decode()
    assert "Root-Is-Purelib: true" in about
    assert re.findall("^Tag: (.*)$", about, re.MULTILINE) == ["py3-none-any"]
    programs = files[f"wagi_gateway-{VERSION}.dist-info/entry_points.txt"].decode()
    assert programs.split("\n", 1) == ["[console_scripts]", "wagi-gateway = wagi_gateway.cli.main:main\n"]


def test_the_sdist_holds_the_package_and_no_tests_or_samples(sdist: Path) -> None:
    assert sdist.name == f"wagi_gateway-{VERSION}.tar.gz"
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert names == PACKAGE | BESIDE


def test_a_wheel_of_the_sdist_is_the_same(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    rebuilt = build(tmp_path / f"wagi_gateway-{VERSION}", "wheel", tmp_path / "dist")
    assert contents(rebuilt) == contents(wheel)


def test_the_installed_package_is_imported(scripts: Path, tmp_path: Path) -> None:
    printed = run(scripts / "python", "-c", "import wagi_gateway; print(wagi_gateway.__file__)", cwd=tmp_path)
    assert Path(printed.strip()).is_relative_to(scripts.parent)


def test_the_program_runs_through_a_link_as_pipx_makes_it(scripts: Path, tmp_path: Path) -> None:
    link = tmp_path / "wagi"
    link.symlink_to(scripts / "wagi-gateway")
    assert run(link, "--version", cwd=tmp_path) == f"wagi-gateway {VERSION}\n"


def test_the_module_checks_a_configuration_in_another_folder(scripts: Path, folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    printed = run(scripts / "python", "-m", "wagi_gateway", "check", folder / "modules.toml", cwd=elsewhere)
    assert re.search(r"│ ok +│ /hello +│ .*hello\.wat \(_start\)", printed)


def test_the_program_makes_a_project_from_its_templates(scripts: Path, tmp_path: Path) -> None:
    run(scripts / "wagi-gateway", "new", "first", "--lang", "quickjs", cwd=tmp_path)
    assert (tmp_path / "first/qjs.wasm").read_bytes().startswith(b"\0asm")
    assert (tmp_path / "first/.gitignore").is_file()


def test_the_program_serves(scripts: Path, folder: Path) -> None:
    command = [str(scripts / "wagi-gateway"), "serve", "modules.toml", "--listen", "127.0.0.1:0"]
    output = folder / "output"
    with output.open("w") as file:
        process = subprocess.Popen(command, cwd=folder, env=_environment(), stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "Ready: serving on" in output.read_text(), START, output.read_text)
        match = re.search(r"Ready: serving on (\S+)", output.read_text())
        assert match
        assert httpx.get(f"{match[1]}/hello", trust_env=False).text == "hello world\n"
    finally:
        process.terminate()
        assert process.wait(20) == 0
