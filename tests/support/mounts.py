"""A process with mounts of its own, which nobody else sees."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.registry import installed


def with_mounts(mount: str, directory: Path) -> list[str]:
    """A command that becomes the one after it, once the shell command `mount` is done, whose `$0` is the directory."""
    options = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    command = [installed("unshare", "util-linux"), *options, "sh", "-c", f'{mount} && exec "$@"', str(directory)]
    result = subprocess.run([*command, "true"], capture_output=True, text=True)
    if result.returncode != 0:
        why = "mounts of one's own need CAP_SYS_ADMIN, or user namespaces where one is not root"
        pytest.fail(f"{why}: {result.stderr.strip()}", pytrace=False)
    return command
