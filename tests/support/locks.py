"""The lock files of requirements."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parent.parent.parent
_ENTRY = re.compile(
    r"^(?P<name>[\w.-]+)==(?P<version>[\w.!+]+)(?: ; (?P<marker>.+?))?(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)$"
)


def entries(lock: str) -> list[re.Match[str]]:
    """The packages of a lock; AssertionError for a line that is not a package with a version and its hashes."""
    text = (_ROOT / lock).read_text().replace(" \\\n    ", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    matches = [(line, _ENTRY.match(line)) for line in lines]
    assert [line for line, match in matches if not match] == []
    return [match for _, match in matches if match]


def locked(lock: str) -> dict[str, str]:
    """The version of each package that a lock installs on this Python and system."""
    return {
        canonicalize_name(entry["name"]): entry["version"]
        for entry in entries(lock)
        if not entry["marker"] or Marker(entry["marker"]).evaluate()
    }
