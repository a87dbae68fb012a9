"""Credential helpers of Docker, as shell scripts."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path


def helper(directory: Path, script: str, name: str = "test") -> dict[str, str]:
    """Writes `docker-credential-NAME`; returns an environment whose PATH has it."""
    program = directory / f"docker-credential-{name}"
    program.write_text("#!/bin/sh\n" + textwrap.dedent(script))
    program.chmod(0o755)
    return {"PATH": f"{directory}:{os.defpath}", "HOME": str(directory)}
