"""Components that hold an interpreter as it was at the end of its build."""

from __future__ import annotations

import os
from pathlib import Path

_TOOLS = b"component-init-transform", b"ComponentizeJS"
"""What componentize-py and ComponentizeJS write into the section `producers`, with which their components end."""
_END = 65536
"""Bytes at the end of a file that are read."""
_COMPONENT = b"\0asm\x0d\0\1\0"


def is_preinitialised(path: Path) -> bool:
    """Whether a file is a component of componentize-py or ComponentizeJS. Raises OSError."""
    with path.open("rb") as file:
        if file.read(len(_COMPONENT)) != _COMPONENT:
            return False
        file.seek(max(file.seek(0, os.SEEK_END) - _END, 0))
        end = file.read()
    return any(tool in end for tool in _TOOLS)
