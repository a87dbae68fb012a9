"""Configurations of outbound calls that are refused at the start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.support.config import module

SERVES_NOTHING = module("/", ROOT / "samples/c/http-example.wasm", allowed_hosts=["a.test"])


def refused(directory: Path, config: str, *, command: str = "serve") -> str:
    """The output of a command that refuses a configuration, on one line."""
    (directory / "modules.toml").write_text(config)
    arguments = [sys.executable, "-m", "wagi_gateway", command, str(directory / "modules.toml")]
    env = os.environ | {"COLUMNS": "400"}  # `check` wraps lines
    finished = subprocess.run(arguments, capture_output=True, text=True, timeout=30, env=env)
    assert finished.returncode != 0
    assert "Traceback" not in finished.stdout + finished.stderr
    return " ".join((finished.stdout + finished.stderr).split())
