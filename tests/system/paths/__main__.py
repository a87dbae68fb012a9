"""Writes docs/paths.md: `python -m tests.system.paths`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.conftest import ROOT

from .table import measure, render, serving

PAGE = ROOT / "docs" / "paths.md"

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "cache").mkdir(mode=0o700)
        (directory / "site").mkdir()
        (directory / "fronts").mkdir()
        with serving(directory / "site", directory / "cache") as server:
            PAGE.write_text(render(measure(server, directory / "fronts")))
