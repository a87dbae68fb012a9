"""The files that a guest has opened, with the errors in words."""

from __future__ import annotations

import errno
import os

from .masks import Masks
from .recording import Recording

_ERRORS = {
    2: errno.EACCES,
    8: errno.EBADF,
    20: errno.EEXIST,
    28: errno.EINVAL,
    31: errno.EISDIR,
    32: errno.ELOOP,
    33: errno.EMFILE,
    37: errno.ENAMETOOLONG,
    44: errno.ENOENT,
    51: errno.ENOSPC,
    54: errno.ENOTDIR,
    55: errno.ENOTEMPTY,
    63: errno.EPERM,
    69: errno.EROFS,
}
"""Numbers of the system, by those of WASI preview 1 (`errno`)."""


def opened_files(recording: Recording, masks: Masks) -> list[dict[str, object]]:
    """A document for each file that the guest has opened, or could not open."""
    return [
        {
            "path": masks.hide(file.path).decode("utf-8", "backslashreplace"),
            "mode": "write" if file.is_written else "read",
            "error": _error_text(file.error) if file.error else "",
        }
        for file in list(recording.files)
    ]


def _error_text(number: int) -> str:
    """The words for an `errno` of WASI preview 1."""
    if number == 76:
        return "outside of the volume, or not permitted in it (76)"
    words = os.strerror(_ERRORS[number]) if number in _ERRORS else "error"
    return f"{words} ({number})"
