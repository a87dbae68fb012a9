"""Modules and directories, named by a path or a `file:` URL."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import Problem, StartupError

# One letter is a Windows drive, not a scheme.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_ADVICE = {
    "oci": "a directory does not come from a registry; name it by its path",
    "bindle": "bindles are gone; name the module's file",
    "http": "modules are not fetched over HTTP; fetch the module and name its file",
    "https": "modules are not fetched over HTTP; fetch the module and name its file",
}


@dataclass(frozen=True, slots=True)
class WasmSource:
    """The bytes of a module, as its author built it."""

    name: str
    """The name in messages: the file's name, or the reference after `oci:`."""
    data: bytes
    digest: str
    """SHA-256 of `data`, in lower-case hex."""
    image: str | None = None
    """The image reference with the digest it resolved to: `oci:…@sha256:…`."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The path of a reference, and a warning if it is not the path as written."""

    path: Path
    warning: str | None = None


def resolve(reference: str, base: Path) -> Resolved:
    """Resolves a reference relative to `base`, or, as WAGI did, to the working directory.

    Raises ValueError for a reference that names no file.
    """
    if match := _SCHEME.match(reference):
        scheme = match[1].lower()
        if scheme != "file":
            advice = _ADVICE.get(scheme, "unknown scheme; name a file by its path")
            raise ValueError(f"{scheme}: {advice}")
        reference = unquote(urlsplit(reference).path)
    path = Path(reference)
    here = base / path
    if not path.is_absolute() and not here.exists() and path.exists():
        return Resolved(path.absolute(), f"{reference} is not in {base.absolute()} but in the working directory; used")
    return Resolved(here.absolute())


def read_module(path: Path) -> WasmSource:
    """Reads a module. Raises StartupError."""
    try:
        if path.exists() and not path.is_file():  # a pipe or device has no end
            raise StartupError(Problem("", f"{path} is not a file"))
        data = path.read_bytes()
    except FileNotFoundError:
        raise StartupError(Problem("", f"there is no file {path}")) from None
    except OSError as error:
        raise StartupError(Problem("", f"{path} cannot be read: {error.strerror}")) from None
    return WasmSource(path.name, data, hashlib.sha256(data).hexdigest())
