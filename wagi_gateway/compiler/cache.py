"""The cache of precompiled artefacts. They are machine code: only this user or root may have written one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path

from filelock import BaseFileLock

from ..sources.directory import DirectoryRefused, PrivateDirectory
from ..sources.directory_chain import unsafe


class CacheRefused(Exception):
    """The directory cannot be used; the message says why and what to do."""


class ArtefactCache:
    """A directory of artefacts. Owner and mode are checked when the directory is opened, and again for each file.

    Paths of artefacts lead through the descriptor of that directory: another one in its place is not read.

    An artefact's digest is verified once; a record beside the artefact keeps the file's identity (inode, size, times),
    so that a later load costs one `stat`. Every change of the file changes its ctime, after which the digest is
    verified again.
    """

    def __init__(self, directory: Path) -> None:
        """Creates `directory` unless it exists. Raises CacheRefused."""
        self.directory = directory
        try:
            self._files = PrivateDirectory(directory)
        except DirectoryRefused as refused:
            raise CacheRefused(str(refused)) from None
        if not os.access(self._files.open_path, os.W_OK | os.X_OK):
            raise CacheRefused(f"{directory} is not writable; change its mode or choose another one")
        if os.statvfs(self._files.open_path).f_flag & os.ST_NOEXEC:
            what = "is mounted noexec, and compiled modules are machine code that is executed from there"
            raise CacheRefused(f"{directory} {what}; mount it with exec or choose another one")

    def lock(self, key: str) -> BaseFileLock:
        """The lock for compiling `key`: processes that start together compile once. Raises OSError."""
        return self._files.lock(f"{key}.lock", timeout=-1)

    def find(self, key: str) -> Path | None:
        """The path of a valid artefact of `key`, or None; it holds while this object does."""
        path = self._artefact_path(key)
        try:
            status = path.lstat()
            record = json.loads(self._record_path(key).read_text())
        except (OSError, ValueError):
            return None
        if (
            not stat.S_ISREG(status.st_mode)
            or unsafe(status)
            or not isinstance(record, dict)
            or record.get("key") != key
        ):
            return None
        if record.get("identity") != _identity(status):
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != record.get("sha256"):
                    return None
            with contextlib.suppress(OSError):  # a full disk: the next load verifies again
                self._files.write(self._record_path(key).name, _record(key, record["sha256"], status))
        return path

    def has(self, key: str) -> bool:
        """Whether an artefact of `key` exists, valid or not."""
        return self._artefact_path(key).exists()

    def store(self, key: str, artefact: bytes | bytearray) -> Path:
        """Writes the artefact of `key` atomically; returns its path. Raises OSError."""
        path = self._artefact_path(key)
        self._files.write(path.name, artefact)
        self._files.write(self._record_path(key).name, _record(key, hashlib.sha256(artefact).hexdigest(), path.lstat()))
        return path

    def _artefact_path(self, key: str) -> Path:
        return self._files.open_path / f"{key}.cwasm"

    def _record_path(self, key: str) -> Path:
        return self._files.open_path / f"{key}.json"


def _identity(status: os.stat_result) -> list[int]:
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _record(key: str, digest: str, status: os.stat_result) -> bytes:
    return json.dumps({"key": key, "sha256": digest, "identity": _identity(status)}).encode()
