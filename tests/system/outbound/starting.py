"""Configurations of outbound calls that are refused at the start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

SERVES_NOTHING = f'[[module]]\nroute = "/"\nmodule = "{ROOT}/samples/c/http-example.wasm"\nallowed_hosts = ["a.test"]\n'


def refused(directory: Path, config: str, *, command: str = "serve") -> str:
    """The output of a command that refuses a configuration, on one line."""
    (directory / "modules.toml").write_text(config)
    arguments = [sys.executable, "-m", "wagi_gateway", command, str(directory / "modules.toml")]
    finished = subprocess.run(arguments, capture_output=True, text=True, timeout=30)
    assert finished.returncode != 0
    assert "Traceback" not in finished.stdout + finished.stderr
    return " ".join((finished.stdout + finished.stderr).split())
