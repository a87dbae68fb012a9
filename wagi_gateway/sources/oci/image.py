"""An image: the way from its digest, over indexes and a manifest, to the module."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .errors import Invalid, RegistryError, TooLarge
from .layer import extract_module
from .manifest import MAX_DEPTH, Manifest, choose_manifest, module_layer, parse_manifest
from .repository import Repository

FindBlob = Callable[[str, int], bytes | None]
"""A stored blob by digest and size, or None."""
OnBytes = Callable[[int, int], None]
"""Called with the received and the total bytes."""

_PACKING = 1 << 20
"""Bytes of a layer besides the module: an archive's headers and small files."""


@dataclass(frozen=True, slots=True)
class Image:
    """The manifest of a module, and the way to it."""

    digest: str
    """The digest of the reference or of its tag: a manifest's or an index's."""
    manifest: Manifest
    data: bytes
    """The manifest's bytes, unchanged."""
    indexes: tuple[bytes, ...] = ()
    """The bytes of the indexes between `digest` and the manifest, in order."""


def find_image(repository: Repository, digest: str, data: bytes, media_type: str) -> Image:
    """Follows indexes to the manifest of the module. `data` is the document of `digest`. Raises RegistryError."""
    indexes: list[bytes] = []
    for _ in range(MAX_DEPTH + 1):
        document = parse_manifest(data, media_type)
        if isinstance(document, Manifest):
            return Image(digest, document, data, tuple(indexes))
        indexes.append(data)
        _, data, media_type = repository.resolve(choose_manifest(document).digest)
    raise Invalid(f"indexes lead to indexes, more than {MAX_DEPTH} times")


def verify_chain(digest: str, documents: Sequence[bytes], module: bytes) -> bool:
    """Whether a digest leads to a module over indexes and a manifest, each verified against its digest.

    An archive is not stored, so the module of an archive is not verified against its layer.
    """
    try:
        for data in documents:
            if not _has_digest(data, digest):
                return False
            document = parse_manifest(data, "")
            if isinstance(document, Manifest):
                layer, packing = module_layer(document)
                return data is documents[-1] and (packing != "raw" or _has_digest(module, layer.digest))
            digest = choose_manifest(document).digest
    except RegistryError:
        return False
    return False


def _has_digest(data: bytes, digest: str) -> bool:
    algorithm, _, value = digest.partition(":")
    return hashlib.new(algorithm, data).hexdigest() == value


def fetch_module(
    repository: Repository, image: Image, max_size: int, find_blob: FindBlob, on_progress: OnBytes
) -> bytes:
    """Fetches the module, of at most `max_size` bytes. Raises RegistryError."""
    layer, packing = module_layer(image.manifest)
    allowed = max_size if packing == "raw" else max_size + _PACKING
    if layer.size > allowed:
        raise TooLarge(f"the layer that holds the module has {layer.size} bytes; {allowed} are allowed")
    if packing == "raw" and (data := find_blob(layer.digest, layer.size)) is not None:
        return data
    file = io.BytesIO()
    on_progress(0, layer.size)
    repository.fetch_blob(layer, file, lambda done: on_progress(done, layer.size))
    file.seek(0)
    return extract_module(file, packing, max_size)
