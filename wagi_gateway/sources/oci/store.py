"""Modules from registries on disk, by what they contain.

    blobs/sha256/<hex>      modules, manifests and indexes, named by their SHA-256, which is verified with each reading
    images/<digest>.json    which module the manifest or index of this digest led to
    tags/<hex>.json         which digest a tag had when it was last asked for; named by the reference's SHA-256
    locks/<hex>.lock        held by the process that downloads

Whatever is missing or damaged is as good as not there. A file counts as last used when it was last modified.

Blobs are believed because of their names; that a digest leads to a module, because the indexes and the manifest on the
way are kept and followed again (`image.leads_to`). Whoever can write here as this user, who might as well change the
configuration, can still move a tag to another image, which a digest in the reference prevents; delete; and say which
module came out of an archive (a layer of tar), since archives are not kept.
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
"""Seconds to wait for another process that downloads the same; then both do."""
_LOOK_TIME = 0.5
"""Seconds between two looks whether the wait is still wanted."""
MAX_RECORD = 64 * 1024
"""Bytes of a record."""

_DIGEST = r"^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$"
_BLOB = r"^[0-9a-f]{64}$"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class StoredImage(_Record):
    """What a manifest or index led to."""

    digest: str = Field(pattern=_DIGEST)
    """The manifest's or index's, by which the image is known."""
    manifest: str = Field(pattern=_BLOB)
    """SHA-256 of the manifest that holds the module: this one, or the one chosen from the index."""
    indexes: tuple[Annotated[str, Field(pattern=_BLOB)], ...] = Field(default=(), max_length=MAX_DEPTH)
    """SHA-256 of the indexes that lead to that manifest, in their order."""
    media_type: str
    """The manifest's."""
    module: str = Field(pattern=_BLOB)
    """The module's SHA-256."""
    size: int = Field(ge=0)
    """The module's bytes."""
    reference: str
    """What it was called when it was pulled."""
    pulled: float
    """When, as `time.time()` has it."""


class _Tag(_Record):
    reference: str
    digest: str = Field(pattern=_DIGEST)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `cache ls`."""

    image: StoredImage
    tags: tuple[str, ...]
    """References that lead to it."""
    used: float
    """When it was used last, as `time.time()` has it."""


class Store:
    """A directory of modules that several processes share."""

    def __init__(self, directory: Path) -> None:
        """Makes `directory` if need be. Raises DirectoryRefused."""
        self.directory = directory
        self._files = PrivateDirectory(directory)

    def path(self, module: str) -> Path:
        """Where the module of this SHA-256 is, or would be."""
        return self.directory / _blob(module)

    def find(self, digest: str) -> StoredImage | None:
        """What the manifest of this digest led to."""
        name = _image(digest)
        image = self._read(name, StoredImage)
        if image is None or image.digest != digest:
            return None
        self._files.touch(name)
        return image

    def blob(self, sha256: str, limit: int) -> bytes | None:
        """A module or manifest of at most `limit` bytes, verified."""
        data = self._files.read(_blob(sha256), limit)
        return data if data is not None and hashlib.sha256(data).hexdigest() == sha256 else None

    def tag(self, reference: str) -> str | None:
        """The digest a reference had when it was last asked for."""
        tag = self._read(_tag(reference), _Tag)
        return tag.digest if tag and tag.reference == reference else None

    def keep(self, image: StoredImage, module: bytes, documents: Iterable[bytes]) -> None:
        """Keeps a module and where it came from: indexes and manifest. Raises OSError."""
        for data in (module, *documents):
            self._files.write(_blob(hashlib.sha256(data).hexdigest()), data)
        self._files.write(_image(image.digest), image.model_dump_json().encode())

    def remember(self, reference: str, digest: str) -> None:
        """Notes the digest of a tag. Raises OSError."""
        if self.tag(reference) != digest:
            self._files.write(_tag(reference), _Tag(reference=reference, digest=digest).model_dump_json().encode())

    def touch(self, digests: Iterable[str]) -> None:
        """Notes that the images of these digests (`sha256:…`) are used now, so that `prune` spares them."""
        for digest in digests:
            self._files.touch(_image(digest))

    @contextlib.contextmanager
    def lock(self, key: str, look: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Held while `key` is downloaded. Where nothing can be locked, each process downloads for itself.

        `look` is called now and then while another process has it; what it raises ends the wait.
        """
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError, NotImplementedError):  # read-only, full, patience at its end; no flock
                lock = self._files.lock(f"locks/{_sha256(key)}.lock", _LOOK_TIME)
                until = time.monotonic() + LOCK_TIME
                while not lock.is_locked and time.monotonic() < until:
                    look()
                    with contextlib.suppress(filelock.Timeout):
                        stack.enter_context(lock)
            yield

    def entries(self) -> list[Entry]:
        """Everything that is kept, the last used first."""
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
        """Removes what was not used for `max_age` seconds, then the longest unused until `max_size` bytes are left.

        Damaged records, blobs nothing leads to and leftovers of processes that are gone are removed, too. Returns the
        entries that were removed; raises OSError.
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
        """Removes the files of `removed` that `kept` does not share, and those nobody knows."""
        needed = {name for entry in kept for name in names(entry)}
        gone = {name for entry in removed for name in names(entry)}
        for name in set(self._files.names(folder)) - needed:
            # What nobody knows may have been written by a pull that has just begun.
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
