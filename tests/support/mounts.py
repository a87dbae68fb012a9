"""Commands in a mount namespace of their own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.registry import installed


def with_mounts(mount: str, directory: Path) -> list[str]:
    """A prefix for a command: runs the shell command `mount`, with the directory as `$0`, in a new mount namespace."""
    options = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    command = [installed("unshare", "util-linux"), *options, "sh", "-c", f'{mount} && exec "$@"', str(directory)]
    result = subprocess.run([*command, "true"], capture_output=True, text=True)
    if result.returncode != 0:
        why = "mounts of one's own need CAP_SYS_ADMIN, or user namespaces where one is not root"
        pytest.fail(f"{why}: {result.stderr.strip()}", pytrace=False)
    return command
