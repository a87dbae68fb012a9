"""A root file system with nothing but this machine's Python, as the base of the container image."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pip

PYTHON = "/usr/local/bin/python3"
"""The path of Python, as in the official images."""
EXTENSIONS = tuple(
    f"lib{name}.so.{version}"
    for name, version in (("stdc++", 6), ("gcc_s", 1), ("rt", 1), ("dl", 2), ("pthread", 0), ("util", 1), ("m", 6))
)
"""Libraries that wheels may expect of any Linux (PEP 600), besides Python's own dependencies."""
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
_LEFT_OUT = shutil.ignore_patterns(
    "__pycache__",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "site-packages",
    "dist-packages",
    "config-*",
    "*.a",
)


def write_rootfs(root: Path) -> None:
    """Fills `root`: Python with venv and pip, the libraries it needs, and no shell."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = root / "usr/local/lib" / version
    shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=_LEFT_OUT, symlinks=False)
    dynamic = Path(sysconfig.get_config_var("DESTSHARED"))
    if not (library / "lib-dynload").is_dir():
        shutil.copytree(dynamic, library / "lib-dynload")
    # The package directories of Debian's Python and of all others.
    shutil.copytree(
        Path(pip.__file__).parent, library / "site-packages/pip", ignore=shutil.ignore_patterns("__pycache__")
    )
    _copy(Path(sys.executable).resolve(), root / PYTHON.lstrip("/"))
    for program in (Path(sys.executable).resolve(), *dynamic.glob("*.so")):
        for needed in _libraries(program):
            if not (root / str(needed).lstrip("/")).exists():
                _copy(needed, root / str(needed).lstrip("/"))
    for name in EXTENSIONS:
        found = _find(name)
        _copy(found, root / str(found).lstrip("/"))
    for folder in ("etc", "tmp", "proc", "sys", "dev"):
        (root / folder).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/nonexistent\n")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _libraries(program: Path) -> Iterator[Path]:
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True)
    return (Path(path) for path in _LIBRARY.findall(done.stdout))


def _find(library: str) -> Path:
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    match = re.search(rf"^\s*{re.escape(library)} .*x86-64.* => (\S+)$", known, re.MULTILINE) or re.search(
        rf"^\s*{re.escape(library)} .* => (\S+)$", known, re.MULTILINE
    )
    assert match, f"{library} is not on this machine"
    return Path(match[1])
