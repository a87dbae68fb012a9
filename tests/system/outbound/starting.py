"""Configurations of outbound calls that are refused at the start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.config import module
from wagi_gateway.config.file import read_config
from wagi_gateway.errors import StartupError
from wagi_gateway.site.load import load

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


def problems(directory: Path, config: str) -> str:
    """The problems with which every command refuses a configuration, on one line."""
    path = directory / "modules.toml"
    path.write_text(config)
    with pytest.raises(StartupError) as error:
        load(read_config(path, {"cache": {"directory": str(directory / "cache")}}))
    return " ".join(str(error.value).split())
