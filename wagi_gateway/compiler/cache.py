"""Precompiled artefacts on disk: machine code, so kept where nobody else can write and checked before it is loaded."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path

from filelock import BaseFileLock, FileLock

from ..sources.directory import DirectoryRefused, PrivateDirectory, unsafe


class CacheRefused(Exception):
    """The directory cannot be used; the text says why and what to do."""


class ArtefactCache:
    """A directory of artefacts. Owner and mode are checked when it is opened and again for each file.

    An artefact's digest is verified once; a note beside it remembers the file's identity (inode, size, times), so that
    later loads cost one `stat`. Whatever changes the file changes its ctime and has it verified again.
    """

    def __init__(self, directory: Path) -> None:
        """Creates `directory` if need be. Raises CacheRefused."""
        self.directory = directory
        try:
            self._files = PrivateDirectory(directory)
        except DirectoryRefused as refused:
            raise CacheRefused(str(refused)) from None
        if not os.access(directory, os.W_OK | os.X_OK):
            raise CacheRefused(f"{directory} is not writable; change its mode or choose another one")
        if os.statvfs(directory).f_flag & os.ST_NOEXEC:
            what = "is mounted noexec, and compiled modules are machine code that is executed from there"
            raise CacheRefused(f"{directory} {what}; mount it with exec or choose another one")

    def lock(self, key: str) -> BaseFileLock:
        """Held while `key` is compiled, so that processes that start together compile once."""
        return FileLock(self.directory / f"{key}.lock", mode=0o600)

    def find(self, key: str) -> Path | None:
        """The artefact of `key`, or None if there is none that may be loaded."""
        path = self._artefact(key)
        try:
            status = path.lstat()
            note = json.loads(self._note(key).read_text())
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(status.st_mode) or unsafe(status) or not isinstance(note, dict) or note.get("key") != key:
            return None
        if note.get("identity") != _identity(status):
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != note.get("sha256"):
                    return None
            with contextlib.suppress(OSError):  # a full disk: the next load verifies again
                self._files.write(self._note(key).name, _note(key, note["sha256"], status))
        return path

    def has(self, key: str) -> bool:
        """Whether there is a file where the artefact of `key` should be."""
        return self._artefact(key).exists()

    def store(self, key: str, artefact: bytes | bytearray) -> Path:
        """Writes the artefact of `key`; a reader sees all of it or nothing. Raises OSError."""
        path = self._artefact(key)
        self._files.write(path.name, artefact)
        self._files.write(self._note(key).name, _note(key, hashlib.sha256(artefact).hexdigest(), path.lstat()))
        return path

    def _artefact(self, key: str) -> Path:
        return self.directory / f"{key}.cwasm"

    def _note(self, key: str) -> Path:
        return self.directory / f"{key}.json"


def _identity(status: os.stat_result) -> list[int]:
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _note(key: str, digest: str, status: os.stat_result) -> bytes:
    return json.dumps({"key": key, "sha256": digest, "identity": _identity(status)}).encode()
