"""Projects of `new` with other programs, whose modules are kept between runs."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .packages import folder_of_modules


def make_project(folder: Path, language: str, files: Mapping[str, str], environ: Mapping[str, str]) -> Path:
    """Makes a project, writes these files into it, and builds app.wasm."""
    command = [sys.executable, "-m", "wagi_gateway", "new", folder.name, "--lang", language]
    subprocess.run(command, cwd=folder.parent, env=environ, check=True, capture_output=True, timeout=60)
    build_with(folder, files, environ)
    return folder


def build_with(folder: Path, files: Mapping[str, str], environ: Mapping[str, str]) -> Path:
    """Writes files into a project, and builds app.wasm unless it is kept from a build of the same files."""
    for name, text in files.items():
        (folder / name).write_text(text)
    made_of = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.startswith((".build/", "node_modules/", "app.wasm", "modules.")):
            made_of.update(repr((name, path.read_bytes())).encode())
    kept = folder_of_modules() / f"{made_of.hexdigest()}.wasm"
    if not kept.exists():
        command = [sys.executable, "-m", "wagi_gateway", "build"]
        built = subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, text=True, timeout=900, check=False
        )
        assert built.returncode == 0, built.stdout + built.stderr
        shutil.copy(folder / "app.wasm", kept.with_suffix(".new"))
        kept.with_suffix(".new").rename(kept)
    shutil.copy(kept, folder / "app.wasm")
    return folder / "app.wasm"
