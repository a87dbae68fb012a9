"""The store: modules from registries on disk, addressed by content.

    blobs/sha256/<hex>      modules, manifests and indexes by their SHA-256, which is verified at each read
    images/<digest>.json    which module a manifest or index leads to
    tags/<hex>.json         the digest of a tag when it was last resolved; named by the reference's SHA-256
    locks/<hex>.lock        the lock of a download

A damaged file counts as missing. A file's modification time is the time of its last use.

Blobs are verified by their names. Following the stored indexes and manifest verifies that a digest leads to its module
(`image.verify_chain`). A process that can write here as this user, and so could change the configuration too, can still

- move a tag to another image (a digest in the reference prevents this),
- delete files,
- replace the module of an archive (a tar layer), since archives are not stored.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import filelock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..directory import STALE, PrivateDirectory
from .manifest import MAX_DEPTH

LOCK_TIME = 960.0
"""Seconds of waiting for another process's download of the same image; then both download."""
_POLL_INTERVAL = 0.5
"""Seconds between two checks whether the wait was cancelled."""
MAX_RECORD = 64 * 1024
"""Bytes of a record."""

_DIGEST = r"^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$"
_BLOB = r"^[0-9a-f]{64}$"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class StoredImage(_Record):
    """The record of a stored image."""

    digest: str = Field(pattern=_DIGEST)
    """The digest of the manifest or index that the reference names."""
    manifest: str = Field(pattern=_BLOB)
    """SHA-256 of the module's manifest: the one named, or the one chosen from the index."""
    indexes: tuple[Annotated[str, Field(pattern=_BLOB)], ...] = Field(default=(), max_length=MAX_DEPTH)
    """SHA-256 of the indexes between the reference and the manifest, in order."""
    media_type: str
    """The manifest's media type."""
    module: str = Field(pattern=_BLOB)
    """The module's SHA-256."""
    size: int = Field(ge=0)
    """The module's bytes."""
    reference: str
    """The reference of the first pull."""
    pulled: float
    """The time of the pull, by `time.time()`."""


class _Tag(_Record):
    reference: str
    digest: str = Field(pattern=_DIGEST)


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored image, as `cache ls` lists it."""

    image: StoredImage
    tags: tuple[str, ...]
    """References whose tag has the image's digest."""
    used: float
    """The time of the last use, by `time.time()`."""


class Store:
    """A directory of modules that several processes share."""

    def __init__(self, directory: Path) -> None:
        """Creates `directory` unless it exists. Raises DirectoryRefused."""
        self.directory = directory
        self._files = PrivateDirectory(directory)

    def path(self, module: str) -> Path:
        """The path of the module with this SHA-256, stored or not."""
        return self.directory / _blob(module)

    def find(self, digest: str) -> StoredImage | None:
        """The record of the image with this digest, or None; counts as a use."""
        name = _image(digest)
        image = self._read(name, StoredImage)
        if image is None or image.digest != digest:
            return None
        self._files.touch(name)
        return image

    def blob(self, sha256: str, limit: int) -> bytes | None:
        """Reads a module, manifest or index of at most `limit` bytes and verifies it; None if missing or damaged."""
        data = self._files.read(_blob(sha256), limit)
        return data if data is not None and hashlib.sha256(data).hexdigest() == sha256 else None

    def tag(self, reference: str) -> str | None:
        """The digest that a reference last resolved to, or None."""
        tag = self._read(_tag(reference), _Tag)
        return tag.digest if tag and tag.reference == reference else None

    def keep(self, image: StoredImage, module: bytes, documents: Iterable[bytes]) -> None:
        """Stores a module with its indexes and manifest. Raises OSError."""
        for data in (module, *documents):
            self._files.write(_blob(hashlib.sha256(data).hexdigest()), data)
        self._files.write(_image(image.digest), image.model_dump_json().encode())

    def remember(self, reference: str, digest: str) -> None:
        """Stores the digest of a tag. Raises OSError."""
        if self.tag(reference) != digest:
            self._files.write(_tag(reference), _Tag(reference=reference, digest=digest).model_dump_json().encode())

    def touch(self, digests: Iterable[str]) -> None:
        """Marks the images of these digests (`sha256:…`) as used now, so that `prune` keeps them."""
        for digest in digests:
            self._files.touch(_image(digest))

    @contextlib.contextmanager
    def lock(self, key: str, check_cancelled: Callable[[], None] = lambda: None) -> Iterator[None]:
        """The lock for downloading `key`. On a file system without locks each process downloads.

        `check_cancelled` is called at intervals during the wait; its exception ends the wait.
        """
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError, NotImplementedError):  # read-only, full, or without flock
                lock = self._files.lock(f"locks/{_sha256(key)}.lock", _POLL_INTERVAL)
                until = time.monotonic() + LOCK_TIME
                while not lock.is_locked and time.monotonic() < until:
                    check_cancelled()
                    with contextlib.suppress(filelock.Timeout):
                        stack.enter_context(lock)
            yield

    def entries(self) -> list[Entry]:
        """All stored images, the last used first."""
        tags: dict[str, list[str]] = {}
        for name in self._files.names("tags"):
            if tag := self._read(name, _Tag):
                tags.setdefault(tag.digest, []).append(tag.reference)
        entries = []
        for name in self._files.names("images"):
            image = self._read(name, StoredImage)
            if image and name == _image(image.digest) and self._files.size(_blob(image.module)) == image.size:
                called = tuple(sorted(tags.get(image.digest, ())))
                entries.append(Entry(image, called, self._files.used(name)))
        return sorted(entries, key=lambda entry: (-entry.used, entry.image.digest))

    def prune(self, max_age: float | None = None, max_size: int | None = None) -> list[Entry]:
        """Removes images that were not used for `max_age` seconds, then the least recently used, until at most
        `max_size` bytes are left.

        Removes damaged records, unreferenced blobs and files of dead processes, too. Returns the removed entries.
        Raises OSError.
        """
        kept: list[Entry] = []
        removed: list[Entry] = []
        sizes: dict[str, int] = {}
        for entry in self.entries():  # several images can have one module
            sizes[entry.image.module] = entry.image.size
            is_old = max_age is not None and entry.used < time.time() - max_age
            is_too_much = max_size is not None and sum(sizes.values()) > max_size
            (removed if removed or is_old or is_too_much else kept).append(entry)

        def blobs(entry: Entry) -> Iterable[str]:
            return entry.image.module, entry.image.manifest, *entry.image.indexes

        self._sweep("images", kept, removed, lambda entry: [_image(entry.image.digest)])
        self._sweep("tags", kept, removed, lambda entry: map(_tag, entry.tags))
        self._sweep("blobs/sha256", kept, removed, lambda entry: map(_blob, blobs(entry)))
        for folder in ("images", "tags", "blobs/sha256", "locks"):
            self._files.remove_stale(folder)
        return removed

    def _sweep(
        self, folder: str, kept: list[Entry], removed: list[Entry], names: Callable[[Entry], Iterable[str]]
    ) -> None:
        """Removes the files of `removed` that `kept` does not share, and unreferenced ones."""
        needed = {name for entry in kept for name in names(entry)}
        gone = {name for entry in removed for name in names(entry)}
        for name in set(self._files.names(folder)) - needed:
            # A young unreferenced file may belong to a pull in progress.
            if name in gone or self._files.used(name) < time.time() - STALE:
                self._files.remove(name)

    def _read(self, name: str, model: type[_R]) -> _R | None:
        data = self._files.read(name, MAX_RECORD)
        if data is None:
            return None
        try:
            return model.model_validate_json(data)
        except ValidationError:
            return None


_R = TypeVar("_R", bound=_Record)


def _blob(sha256: str) -> str:
    return f"blobs/sha256/{sha256}"


def _image(digest: str) -> str:
    return f"images/{digest.replace(':', '-')}.json"


def _tag(reference: str) -> str:
    return f"tags/{_sha256(reference)}.json"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
