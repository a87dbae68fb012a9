"""Snapshots of modules: an initialiser is executed once at build time, and memory and globals become a new module.

The tool is Wizer (https://github.com/bytecodealliance/wizer), by itself or as `wasmtime wizer`. The initialiser has the
directories of `snapshot.volumes`, an empty environment and no arguments.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from ..config.settings import SnapshotConfig
from .toolchain import MissingTool

_INSTALL = "npm install @bytecodealliance/wizer@11.0.3, or put wasmtime 39 or later into PATH"
_WIZERS = "wizer", "wizer-linux-x64"


def find_tool(directory: Path) -> Path | None:
    """Wizer or wasmtime: of npm's packages in a directory, in PATH, or in this Python's environment."""
    places = (directory / "node_modules/.bin", *map(Path, os.get_exec_path()), Path(sys.executable).parent)
    path = os.pathsep.join(map(str, places))
    found = next(filter(None, (shutil.which(name, path=path) for name in (*_WIZERS, "wasmtime"))), None)
    return Path(found) if found else None


def missing_snapshot_tool(directory: Path) -> MissingTool | None:
    """The tool of snapshots, if it is missing."""
    return None if find_tool(directory) else MissingTool("there is neither wizer nor wasmtime in PATH", _INSTALL)


def snapshot_command(
    config: SnapshotConfig, directory: Path, tool: Path, entrypoint: str, output: Path
) -> tuple[str, ...]:
    """The command that makes the module `output`; `config` has paths relative to `directory`."""
    is_wizer = tool.name in _WIZERS
    options = ["--allow-wasi"] if is_wizer else ["wizer", "-S", "cli=y", "-W", "unknown-imports-trap=y"]
    for guest, path in config.volumes.items():
        host = directory / path
        options += ["--mapdir", f"{guest}::{host}"] if is_wizer else ["--dir", f"{host}::{guest}"]
    options += ["--init-func", config.initialize, "--rename-func", f"{entrypoint}={config.resume}"]
    return (str(tool), *options, "-o", str(output), str(directory / config.module))
