"""Another state of this project, with an environment of its own: a checkout that exists, or a revision."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]
RELEASE = "82bbabd8e2f76c1f17ed5edc199e1889a0ff8042"
"""The commit of release 0.1.0."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """A directory of this project with its `.venv`."""

    directory: Path
    name: str
    """For the table."""
    is_release: bool
    """Whether it is release 0.1.0, beside which a request has targets."""


def is_checkout(text: str) -> bool:
    """Whether a text is the directory of a checkout that has its `.venv`."""
    return (Path(text) / ".venv/bin/python").exists()


def is_revision(text: str) -> bool:
    """Whether a text names a commit of this repository."""
    return bool(_commit(text, _ROOT))


@contextlib.contextmanager
def checkout(text: str, directory: Path) -> Iterator[Checkout]:
    """A checkout; that of a revision is made in `directory`, with what it requires, and removed."""
    if is_checkout(text):
        path = Path(text).resolve()
        yield Checkout(path, path.name, _commit("HEAD", path) == RELEASE)
        return
    path, is_release = directory / "revision", _commit(text, _ROOT) == RELEASE
    try:
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(path), text], cwd=_ROOT, check=True)
        subprocess.run(["bash", "-euc", ". scripts/venv requirements-test.txt"], cwd=path, check=True)
        yield Checkout(path, "release 0.1.0" if is_release else text, is_release)
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(path)], cwd=_ROOT, capture_output=True)


def _commit(text: str, directory: Path) -> str:
    """The full name of a commit, empty if there is none."""
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True).stdout.strip()
