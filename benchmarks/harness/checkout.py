"""Another state of this project, with an environment of its own: a checkout that exists, or a revision."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def is_checkout(text: str) -> bool:
    """Whether a text is the directory of a checkout that has its `.venv`."""
    return (Path(text) / ".venv/bin/python").exists()


def is_revision(text: str) -> bool:
    """Whether a text names a commit of this repository."""
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}"]
    return subprocess.run(command, cwd=_ROOT, capture_output=True).returncode == 0


@contextlib.contextmanager
def checkout(text: str, directory: Path) -> Iterator[Path]:
    """The directory of a checkout; that of a revision is made in `directory`, with what it requires, and removed."""
    if is_checkout(text):
        yield Path(text).resolve()
        return
    path = directory / "revision"
    try:
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(path), text], cwd=_ROOT, check=True)
        subprocess.run(["bash", "-euc", ". scripts/venv requirements-test.txt"], cwd=path, check=True)
        yield path
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(path)], cwd=_ROOT, capture_output=True)
