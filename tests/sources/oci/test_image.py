"""The way from a digest over indexes and a manifest to the module, and its verification."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest

from wagi_gateway.sources.oci.errors import Invalid
from wagi_gateway.sources.oci.image import Image, find_image, verify_chain
from wagi_gateway.sources.oci.manifest import OCI_INDEX, OCI_MANIFEST, WASM
from wagi_gateway.sources.oci.repository import Repository, ResolvedManifest

MODULE = b"\0asm\1\0\0\0"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def descriptor(data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def manifest(module: bytes = MODULE, media_type: str = WASM) -> bytes:
    config = descriptor(b"{}", "application/vnd.oci.empty.v1+json")
    layers = [descriptor(module, media_type)]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}).encode()


def index(entry: bytes, media_type: str = OCI_MANIFEST) -> bytes:
    entries = [descriptor(entry, media_type)]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


class Documents(Repository):
    """A repository with documents by digest."""

    def __init__(self, *documents: bytes) -> None:
        self._documents = {digest(data): data for data in documents}

    def resolve(self, version: str) -> ResolvedManifest:
        return ResolvedManifest(version, self._documents[version], "")


INNER = index(manifest())
OUTER = index(INNER, OCI_INDEX)
TOO_DEEP = index(OUTER, OCI_INDEX)


@pytest.mark.parametrize("indexes", [(), (INNER,), (OUTER, INNER)], ids=["none", "one", "two"])
def test_indexes_are_followed(indexes: tuple[bytes, ...]) -> None:
    first = (*indexes, manifest())[0]
    found = find_image(Documents(*indexes, manifest()), digest(first), first, "")
    assert isinstance(found, Image)
    assert (found.digest, found.data, found.indexes) == (digest(first), manifest(), indexes)
    assert verify_chain(digest(first), [*found.indexes, found.data], MODULE)


def test_indexes_are_not_followed_without_end() -> None:
    with pytest.raises(Invalid, match="indexes lead to indexes, more than 2 times"):
        find_image(Documents(OUTER, INNER, manifest()), digest(TOO_DEEP), TOO_DEEP, "")


CHAINS: dict[str, tuple[bytes, list[bytes], bytes, bool]] = {
    "manifest": (manifest(), [manifest()], MODULE, True),
    "index": (INNER, [INNER, manifest()], MODULE, True),
    "another module": (manifest(), [manifest()], MODULE + b"x", False),
    "another manifest": (manifest(), [manifest(b"other")], MODULE, False),
    "a manifest of another index": (INNER, [INNER, manifest(b"other")], MODULE, False),
    "no manifest": (INNER, [INNER], MODULE, False),
    "nothing": (manifest(), [], MODULE, False),
    "a document too many": (manifest(), [manifest(), manifest()], MODULE, False),
    "no JSON": (b"x", [b"x"], MODULE, False),
    "an archive": (
        manifest(b"tar", "application/vnd.oci.image.layer.v1.tar"),
        [manifest(b"tar", "application/vnd.oci.image.layer.v1.tar")],
        MODULE,
        True,
    ),
}


@pytest.mark.parametrize(("first", "documents", "module", "expected"), CHAINS.values(), ids=CHAINS)
def test_verify_chain(first: bytes, documents: list[bytes], module: bytes, expected: bool) -> None:
    assert verify_chain(digest(first), documents, module) == expected


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_digest_of_each_algorithm(algorithm: str) -> None:
    compute: Callable[[bytes], str] = lambda data: f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"  # noqa: E731
    assert verify_chain(compute(manifest()), [manifest()], MODULE)
