"""Names of files that hold source code, which is run and never sent."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SOURCES = ".php", ".phtml", ".phpt", ".phps", ".pht", ".phar", ".inc"
"""Suffixes of source code, whatever the scripts are."""


def source_pattern(suffixes: Iterable[str] = ()) -> re.Pattern[str]:
    """A pattern that is found in the names of source code and its copies: `a.php~`, `a.php.bak`, `a.php5`, `a.php.`;
    `suffixes` are further ones, such as `.py`."""
    endings = "|".join(re.escape(suffix[1:]) for suffix in (*_SOURCES, *suffixes))
    return re.compile(rf"\.(?:{endings})(?![a-z])", re.IGNORECASE | re.ASCII)
