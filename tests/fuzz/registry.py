"""Targets: a registry's manifests, indexes and layers, and image references."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib

from wagi_gateway.config.image_reference import ImageReference, is_digest
from wagi_gateway.sources.oci.errors import Invalid, TooLarge
from wagi_gateway.sources.oci.layer import extract_module
from wagi_gateway.sources.oci.manifest import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Index,
    Packing,
    choose_manifest,
    module_layer,
    parse_manifest,
)

_DIGEST = "sha256:" + hashlib.sha256(b"").hexdigest()
_TYPES = (*MANIFEST_TYPES, *INDEX_TYPES, "", "text/plain")
_PACKINGS: tuple[Packing, ...] = ("raw", "tar", "tar+gzip", "tar+zstd")
_MAX_MODULE = 2000


def _entry(media_type: str) -> str:
    platform = '{"os":"wasi","architecture":"wasm"}'
    return f'{{"mediaType":"{media_type}","digest":"{_DIGEST}","size":3,"platform":{platform}}}'


_LAYER = _entry("application/wasm")
MANIFEST_SEEDS = tuple(
    text.encode()
    for text in (
        f'0{{"schemaVersion":2,"config":{_LAYER},"layers":[{_LAYER}],"annotations":null}}',
        f'2{{"schemaVersion":2,"mediaType":"{INDEX_TYPES[0]}","manifests":[{_entry(MANIFEST_TYPES[0])}]}}',
        '5{"schemaVersion":1}',
        f'1{{"config":{_LAYER},"layers":[],"manifests":[]}}',
    )
)
REFERENCE_SEEDS = tuple(
    text.encode()
    for text in (
        "oci:ghcr.io/team/hello:1",
        f"oci://localhost:5000/a/b_c@{_DIGEST}",
        "hello",
        "oci:user:pass@host/x",
        "oci:[::1]:5000/x-y/../z:latest",
    )
)


def _archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name * 40 if data else name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()[:4096]


LAYER_SEEDS = (
    b"\x00\0asm",
    b"\x01" + _archive(**{"a.wasm": b"\0asm", "b": b""}),
    b"\x01" + _archive(**{"é.wasm": b"\0asm"}),
    b"\x02" + zlib.compress(_archive(**{"a.wasm": b"x" * 300}), wbits=31),
    b"\x03\x28\xb5\x2f\xfd\x04\x00\x01\x00\x00",
)


def _header(body: bytes) -> bytes:
    member = tarfile.TarInfo("x")
    member.size, member.type = len(body), tarfile.XHDTYPE
    return member.tobuf(tarfile.USTAR_FORMAT) + body.ljust(512, b"\0")


LAYER_FOUND = (b"\x01" + _header(b"6 a=b\nxx"),)  # an endless read
REFERENCE_FOUND = (
    b"a" * 250,  # with library/ longer than the bound of a name
    b"oci://oci:0/a",  # a host with the name of the scheme
)


def check_manifest(data: bytes) -> None:
    """The first byte chooses the Content-Type."""
    media_type = _TYPES[(data[0] if data else 0) % len(_TYPES)]
    try:
        parsed = parse_manifest(data[1:], media_type)
    except (Invalid, TooLarge) as error:
        assert len(str(error)) < 2000
        return
    assert parsed.digest == f"sha256:{hashlib.sha256(data[1:]).hexdigest()}"
    try:
        chosen = choose_manifest(parsed) if isinstance(parsed, Index) else module_layer(parsed)[0]
    except Invalid as error:
        assert len(str(error)) < 4000
        return
    assert is_digest(chosen.digest)
    assert 0 <= chosen.size < 1 << 63


def check_layer(data: bytes) -> None:
    """The first byte chooses the compression."""
    packing = _PACKINGS[(data[0] if data else 0) % len(_PACKINGS)]
    try:
        module = extract_module(io.BytesIO(data[1:]), packing, _MAX_MODULE)
    except (Invalid, TooLarge) as error:
        assert len(str(error)) < 4000
        return
    assert len(module) <= _MAX_MODULE


def check_reference(data: bytes) -> None:
    """A reference consists of a registry, a repository and a tag or digest, and nothing else."""
    try:
        reference = ImageReference.parse(data.decode("utf-8", "replace"))
    except ValueError:
        return
    assert not set("/@?#\\% ") & set(reference.registry)
    assert not {".", "..", ""} & set(reference.repository.split("/"))
    assert reference.repository.isascii()
    assert not set("@?#\\% :") & set(reference.repository)
    assert "/" not in reference.version
    again = ImageReference.parse(str(reference))
    assert (again.name, again.version) == (reference.name, reference.version)
