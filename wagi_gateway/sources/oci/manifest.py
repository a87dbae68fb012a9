"""Manifests and indexes: their validation, the choice of a platform, and the layer that holds the module.

Sources: OCI image specification 1.1 (manifest, index), Docker's image manifest version 2 schema 2, the CNCF's "Wasm OCI
artifact layout", and wasm-to-oci for what Krustlet and WAGI pulled.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from ...config.image_reference import is_digest
from .errors import Invalid, TooLarge

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)

WASM = "application/wasm"
WASM_CONFIG = "application/vnd.wasm.config.v0+json"
WASM_TO_OCI = "application/vnd.wasm.content.layer.v1+wasm"
WASM_TO_OCI_CONFIG = "application/vnd.wasm.config.v1+json"

MAX_MANIFEST = 4 << 20
"""Bytes of a manifest or index; registries have to accept as many (OCI distribution specification)."""
MAX_ENTRIES = 1000
"""Layers of a manifest, entries of an index."""
MAX_DEPTH = 2
"""Nested indexes."""

Packing = Literal["raw", "tar", "tar+gzip", "tar+zstd"]
"""The form of a layer: the module itself, or an archive with one."""

_PACKINGS: dict[str, Packing] = {
    WASM: "raw",
    WASM_TO_OCI: "raw",
    "application/vnd.oci.image.layer.v1.tar": "tar",
    "application/vnd.oci.image.layer.v1.tar+gzip": "tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd": "tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar": "tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "tar+zstd",
}
# The layers of an instruction that changes no file, such as WORKDIR /, by Docker and by BuildKit.
_EMPTY_LAYERS = {
    "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4",
    "sha256:4f4fb700ef54461cfa02571ae0db9a0dc1e0cdb5577484a6d75e68dc38e8acc1",
}
# (os, architecture), best first.
_PLATFORMS = (("wasip1", "wasm"), ("wasi", "wasm"), ("wasi", "wasm32"), ("wasip2", "wasm"))
_ACCEPTED_MANIFESTS = "an OCI image manifest or index, or Docker's of version 2"
_ACCEPTED_LAYERS = (
    f"accepted are one layer {WASM} or {WASM_TO_OCI}, or an image with one layer (tar, tar+gzip, tar+zstd) that holds "
    "one .wasm file"
)
_MAX_LISTED = 5
"""Entries named in an error."""


def _none_is_empty(value: object) -> object:
    return {} if value is None else value  # Go writes an empty map as null


def _checked_digest(value: object) -> object:
    if not isinstance(value, str) or not is_digest(value):
        raise ValueError("not a sha256 or sha512 digest")
    return value


Annotations = Annotated[dict[str, str], BeforeValidator(_none_is_empty)]


class _Part(BaseModel):
    # Unknown fields are ignored (OCI: "implementations MUST NOT error on unknown properties").
    model_config = ConfigDict(frozen=True, validate_by_name=True, validate_by_alias=True)


class Platform(_Part):
    """The platform of an entry of an index."""

    os: str = ""
    architecture: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


class Descriptor(_Part):
    """A reference to a blob or manifest by digest and size."""

    media_type: str = Field(alias="mediaType")
    digest: Annotated[str, BeforeValidator(_checked_digest)]
    size: int = Field(ge=0, lt=1 << 63, strict=True)
    annotations: Annotations = Field(default_factory=dict)
    platform: Platform | None = None


class Manifest(_Part):
    """The manifest of an artefact or image."""

    digest: str
    """SHA-256 of the manifest's bytes, `sha256:…`."""
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...] = Field(max_length=MAX_ENTRIES)
    annotations: Annotations = Field(default_factory=dict)


class Index(_Part):
    """An index: manifests by platform."""

    digest: str
    """SHA-256 of the index's bytes, `sha256:…`."""
    media_type: str
    manifests: tuple[Descriptor, ...] = Field(max_length=MAX_ENTRIES)
    annotations: Annotations = Field(default_factory=dict)


def parse_manifest(data: bytes, media_type: str) -> Manifest | Index:
    """Parses a manifest or index with its Content-Type. Raises Invalid and TooLarge."""
    if len(data) > MAX_MANIFEST:
        raise TooLarge(f"the manifest has {len(data)} bytes; {MAX_MANIFEST} are allowed")
    try:
        document = from_json(data, allow_inf_nan=False)
    except ValueError:
        raise Invalid("the manifest is not JSON") from None
    if not isinstance(document, dict):
        raise Invalid("the manifest is not a JSON object")
    stated = _media_type(document, media_type)
    # A document that is a manifest and an index is read differently by different tools (CVE-2021-41190).
    if stated in INDEX_TYPES:
        if "layers" in document or "config" in document:
            raise Invalid("the index has layers or a config as well, which is ambiguous")
        return _validated(Index, document, data, stated)
    if stated in MANIFEST_TYPES:
        if "manifests" in document:
            raise Invalid("the manifest has the entries of an index as well, which is ambiguous")
        return _validated(Manifest, document, data, stated)
    raise Invalid(f"found {stated[:200]!r}; accepted is {_ACCEPTED_MANIFESTS}")


def choose_manifest(index: Index) -> Descriptor:
    """The entry for WebAssembly, else the only entry; of equal ones the first. Raises Invalid.

    The entry may be an index itself; callers stop at `MAX_DEPTH`.
    """
    entries = [entry for entry in index.manifests if not _is_attestation(entry)]
    best = min(entries, key=_rank, default=None)
    if best and (len(entries) == 1 or _rank(best) < len(_PLATFORMS) + 1):
        return best
    found = _listed([str(entry.platform or "no platform") for entry in entries])
    raise Invalid(
        f"found an index of {found}; accepted is an entry for {', '.join(f'{os}/{cpu}' for os, cpu in _PLATFORMS)} "
        "or any other wasm platform, or a single entry"
    )


class ModuleLayer(NamedTuple):
    """The layer that holds the module."""

    descriptor: Descriptor
    packing: Packing


def module_layer(manifest: Manifest) -> ModuleLayer:
    """Finds the layer that holds the module. Raises Invalid.

    The layer's media type decides, not the config's, which differs from tool to tool.
    """
    layers = [(layer, _PACKINGS.get(_normal(layer.media_type))) for layer in manifest.layers]
    modules = [(layer, packing) for layer, packing in layers if packing == "raw"]
    archives = [(layer, packing) for layer, packing in layers if packing != "raw" and layer.digest not in _EMPTY_LAYERS]
    for layer, packing in modules if modules else archives:
        if packing and len(modules or archives) == 1:
            return ModuleLayer(layer, packing)
    found = _listed([layer.media_type for layer in manifest.layers])
    config = f"config {manifest.config.media_type[:200]}"
    count = len(manifest.layers)
    raise Invalid(f"found {count} layer{'' if count == 1 else 's'} ({found}) and {config}; {_ACCEPTED_LAYERS}")


_Document = TypeVar("_Document", Manifest, Index)


def _validated(model: type[_Document], document: dict[str, Any], data: bytes, media_type: str) -> _Document:
    own = {"digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "media_type": media_type}
    try:
        return model.model_validate({**document, **own})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Invalid(f"the manifest is wrong at {place[:200]}: {first['msg']}") from None


def _media_type(document: dict[str, Any], content_type: str) -> str:
    """The media type: by the document, else by the registry, else by the document's fields."""
    known = (*MANIFEST_TYPES, *INDEX_TYPES)
    sent = _normal(content_type)
    stated = document.get("mediaType")
    if isinstance(stated, str) and stated:
        if sent in known and sent != stated:
            raise Invalid(f"the registry calls the manifest {sent}, the manifest calls itself {stated[:200]!r}")
        return stated
    if sent in known:
        return sent
    if document.get("schemaVersion") == 1:
        return "a manifest of Docker's version 1"
    if "manifests" in document:
        return OCI_INDEX
    return OCI_MANIFEST if "layers" in document else sent or "no media type"


def _normal(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _is_attestation(entry: Descriptor) -> bool:
    # BuildKit's provenance and SBOMs are entries for the platform unknown/unknown.
    return (entry.platform is not None and entry.platform.os == "unknown") or (
        "vnd.docker.reference.type" in entry.annotations
    )


def _rank(entry: Descriptor) -> int:
    platform = entry.platform or Platform()
    if (pair := (platform.os, platform.architecture)) in _PLATFORMS:
        return _PLATFORMS.index(pair)
    is_wasm = platform.architecture.startswith("wasm") or platform.os.startswith("wasi")
    return len(_PLATFORMS) + (not is_wasm)


def _listed(words: list[str]) -> str:
    shown = ", ".join(word[:200] for word in words[:_MAX_LISTED]) or "nothing"
    return f"{shown} and {len(words) - _MAX_LISTED} more" if len(words) > _MAX_LISTED else shown
