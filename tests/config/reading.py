"""Writes and reads a `modules.toml`."""

from __future__ import annotations

from pathlib import Path

from wagi_gateway.config.file import ConfigFile, read_config
from wagi_gateway.config.reader import Overrides

MINIMAL = '[[module]]\nroute = "/x"\nmodule = "x.wasm"\n'


def read(directory: Path, text: str, overrides: Overrides | None = None) -> ConfigFile:
    path = directory / "modules.toml"
    path.write_text(text)
    return read_config(path, overrides)


def problems(directory: Path, text: str, overrides: Overrides | None = None) -> list[str]:
    """The problems of a file, without its path."""
    file = read(directory, text, overrides)
    return [str(problem).replace(str(file.path), "modules.toml") for problem in file.problems]
