"""What one repository is asked for: an image's manifest, then the module in it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .errors import Invalid, RegistryError, TooLarge
from .layer import extract_module
from .manifest import MAX_DEPTH, Manifest, choose_manifest, module_layer, parse_manifest
from .repository import Repository

Have = Callable[[str, int], bytes | None]
"""A blob that needs no download, by digest and size."""
OnBytes = Callable[[int, int], None]
"""Called with the bytes that are there and all bytes."""

_PACKING = 1 << 20
"""Bytes a layer may have besides the module's: an archive's headers and small files."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a repository says about an image."""

    digest: str
    """The one that was asked for, or that the tag has: a manifest's or an index's."""
    manifest: Manifest
    data: bytes
    """The manifest as it was sent."""
    indexes: tuple[bytes, ...] = ()
    """Those that lead from `digest` to it, as they were sent."""


def find_image(repository: Repository, digest: str, data: bytes, media_type: str) -> Image:
    """Follows indexes to the manifest of the module. Raises RegistryError."""
    indexes: list[bytes] = []
    for _ in range(MAX_DEPTH + 1):
        document = parse_manifest(data, media_type)
        if isinstance(document, Manifest):
            return Image(digest, document, data, tuple(indexes))
        indexes.append(data)
        _, data, media_type = repository.resolve(choose_manifest(document).digest)
    raise Invalid(f"indexes lead to indexes, more than {MAX_DEPTH} times")


def leads_to(digest: str, documents: Sequence[bytes], module: bytes) -> bool:
    """Whether a digest leads to this module by way of indexes and a manifest, each verified against its digest.

    Not verified is that an archive's module is what is in the archive: the store does not keep archives.
    """
    try:
        for data in documents:
            if not _is(data, digest):
                return False
            document = parse_manifest(data, "")
            if isinstance(document, Manifest):
                layer, packing = module_layer(document)
                return data is documents[-1] and (packing != "raw" or _is(module, layer.digest))
            digest = choose_manifest(document).digest
    except RegistryError:
        return False
    return False


def _is(data: bytes, digest: str) -> bool:
    algorithm, _, value = digest.partition(":")
    return hashlib.new(algorithm, data).hexdigest() == value


def fetch_module(repository: Repository, image: Image, max_size: int, have: Have, on_progress: OnBytes) -> bytes:
    """The module, of at most `max_size` bytes. Raises RegistryError."""
    layer, packing = module_layer(image.manifest)
    allowed = max_size if packing == "raw" else max_size + _PACKING
    if layer.size > allowed:
        raise TooLarge(f"the layer that holds the module has {layer.size} bytes; {allowed} are allowed")
    if packing == "raw" and (data := have(layer.digest, layer.size)) is not None:
        return data
    file = io.BytesIO()
    on_progress(0, layer.size)
    repository.fetch_blob(layer, file, lambda done: on_progress(done, layer.size))
    file.seek(0)
    return extract_module(file, packing, max_size)
