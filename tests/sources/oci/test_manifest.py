"""Manifests and indexes: the module's layer, and the messages for all others."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from wagi_gateway.sources.oci.errors import Invalid, RegistryError, TooLarge
from wagi_gateway.sources.oci.manifest import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    MAX_ENTRIES,
    MAX_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    WASM,
    WASM_CONFIG,
    WASM_TO_OCI,
    Index,
    Manifest,
    choose_manifest,
    module_layer,
    parse_manifest,
)

EMPTY_LAYER = "sha256:4f4fb700ef54461cfa02571ae0db9a0dc1e0cdb5577484a6d75e68dc38e8acc1"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


def descriptor(media_type: str, number: int = 1, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{number:064x}", "size": number, **more}


def manifest(*layers: str, **more: Any) -> dict[str, Any]:
    blobs = [descriptor(layer, number) for number, layer in enumerate(layers, 1)]
    return {"schemaVersion": 2, "config": descriptor(WASM_CONFIG), "layers": blobs, **more}


def index(*platforms: str | None, **more: Any) -> dict[str, Any]:
    entries = []
    for number, platform in enumerate(platforms, 1):
        os, _, architecture = (platform or "").partition("/")
        named = {"platform": {"os": os, "architecture": architecture}} if platform else {}
        entries.append(descriptor(OCI_MANIFEST, number, **named))
    return {"schemaVersion": 2, "manifests": entries, **more}


def read(document: Any, media_type: str = OCI_MANIFEST) -> Manifest | Index:
    return parse_manifest(json.dumps(document).encode(), media_type)


def test_a_manifest() -> None:
    data = json.dumps(manifest(WASM, annotations={"a": "b"}, subject=None, extra=[1])).encode()
    found = parse_manifest(data, OCI_MANIFEST)
    assert isinstance(found, Manifest)
    assert found.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert (found.media_type, found.annotations) == (OCI_MANIFEST, {"a": "b"})
    assert (found.config.media_type, found.config.size) == (WASM_CONFIG, 1)
    assert [layer.media_type for layer in found.layers] == [WASM]


def test_annotations_may_be_null() -> None:
    assert read(manifest(annotations=None)).annotations == {}


@pytest.mark.parametrize(
    ("document", "sent", "kind", "stated"),
    [
        (manifest(mediaType=OCI_MANIFEST), OCI_MANIFEST, Manifest, OCI_MANIFEST),
        (manifest(mediaType=DOCKER_MANIFEST), DOCKER_MANIFEST, Manifest, DOCKER_MANIFEST),
        (manifest(), OCI_MANIFEST + "; charset=utf-8", Manifest, OCI_MANIFEST),
        (manifest(), DOCKER_MANIFEST, Manifest, DOCKER_MANIFEST),
        (manifest(mediaType=OCI_MANIFEST), "application/octet-stream", Manifest, OCI_MANIFEST),
        (manifest(), "text/plain", Manifest, OCI_MANIFEST),
        (manifest(), "", Manifest, OCI_MANIFEST),
        (index(mediaType=OCI_INDEX), OCI_INDEX, Index, OCI_INDEX),
        (index(), OCI_INDEX, Index, OCI_INDEX),
        (index(), DOCKER_INDEX, Index, DOCKER_INDEX),
        (index(), "application/json", Index, OCI_INDEX),
    ],
)
def test_media_types(document: Any, sent: str, kind: type, stated: str) -> None:
    found = read(document, sent)
    assert (type(found), found.media_type) == (kind, stated)


@pytest.mark.parametrize(
    ("data", "media_type", "what"),
    [
        (b"<html>", OCI_MANIFEST, "is not JSON"),
        (b"\xff\xfe", OCI_MANIFEST, "is not JSON"),
        (b"[" * MAX_MANIFEST, OCI_MANIFEST, "is not JSON"),
        (b'{"a":' * 100_000, OCI_MANIFEST, "is not JSON"),
        (b"[]", OCI_MANIFEST, "is not a JSON object"),
        (b"{}", OCI_MANIFEST, "is wrong at config: Field required"),
        (b"{}", "", "found 'no media type'; accepted is an OCI image manifest or index, or Docker's of version 2"),
        (b"{}", "text/html", "found 'text/html'; accepted is"),
        (b'{"schemaVersion": 1}', "", 'found "a manifest of Docker\'s version 1"; accepted is'),
        (b'{"mediaType": "application/vnd.oci.artifact.manifest.v1+json"}', "", "artifact.manifest"),
    ],
)
def test_what_is_no_manifest(data: bytes, media_type: str, what: str) -> None:
    with pytest.raises(Invalid) as raised:
        parse_manifest(data, media_type)
    assert what in str(raised.value)


@pytest.mark.parametrize(
    ("document", "sent", "what"),
    [
        ({**manifest(), **index()}, OCI_MANIFEST, "ambiguous"),
        ({**manifest(), **index()}, OCI_INDEX, "ambiguous"),
        (manifest(mediaType=OCI_MANIFEST), OCI_INDEX, "calls itself"),
        (manifest(mediaType=DOCKER_MANIFEST), OCI_MANIFEST, "calls itself"),
        (manifest(layers=None), OCI_MANIFEST, "wrong at layers"),
        (manifest(layers=[descriptor(WASM)] * (MAX_ENTRIES + 1)), OCI_MANIFEST, "wrong at layers"),
        (manifest(layers=[{"mediaType": WASM}]), OCI_MANIFEST, "wrong at layers.0.digest"),
        (manifest(layers=[descriptor(WASM, digest="sha256:../../x")]), OCI_MANIFEST, "wrong at layers.0.digest"),
        (manifest(layers=[descriptor(WASM, digest="md5:00")]), OCI_MANIFEST, "wrong at layers.0.digest"),
        (manifest(layers=[descriptor(WASM, digest=7)]), OCI_MANIFEST, "wrong at layers.0.digest"),
        (manifest(layers=[descriptor(WASM, size=-1)]), OCI_MANIFEST, "wrong at layers.0.size"),
        (manifest(layers=[descriptor(WASM, size="1")]), OCI_MANIFEST, "wrong at layers.0.size"),
        (manifest(layers=[descriptor(WASM, size=1.5)]), OCI_MANIFEST, "wrong at layers.0.size"),
        (manifest(layers=[descriptor(WASM, size=1 << 63)]), OCI_MANIFEST, "wrong at layers.0.size"),
        (manifest(config=None), OCI_MANIFEST, "wrong at config"),
        (manifest(annotations={"a": 1}), OCI_MANIFEST, "wrong at annotations.a"),
        (index(manifests={}), OCI_INDEX, "wrong at manifests"),
        (index(manifests=[1]), OCI_INDEX, "wrong at manifests.0"),
    ],
)
def test_what_is_wrong_in_it(document: Any, sent: str, what: str) -> None:
    with pytest.raises(Invalid) as raised:
        read(document, sent)
    assert what in str(raised.value)


def test_too_large() -> None:
    with pytest.raises(TooLarge, match=f"{MAX_MANIFEST + 1} bytes; {MAX_MANIFEST} are allowed"):
        parse_manifest(b" " * (MAX_MANIFEST + 1), OCI_MANIFEST)


@pytest.mark.parametrize(
    ("layer", "packing"),
    [
        (WASM, "raw"),
        (WASM_TO_OCI, "raw"),
        ("Application/WASM; charset=binary", "raw"),
        (OCI_LAYER, "tar"),
        (OCI_LAYER + "+gzip", "tar+gzip"),
        (OCI_LAYER + "+zstd", "tar+zstd"),
        (DOCKER_LAYER, "tar"),
        (DOCKER_LAYER + ".gzip", "tar+gzip"),
        (DOCKER_LAYER + ".zstd", "tar+zstd"),
    ],
)
def test_where_the_module_is(layer: str, packing: str) -> None:
    found = read(manifest(layer))
    assert isinstance(found, Manifest)
    assert module_layer(found) == (found.layers[0], packing)


def test_layers_beside_the_module() -> None:
    """A README by `oras push`, and BuildKit's layer for WORKDIR."""
    found = read(manifest("text/markdown", WASM))
    assert isinstance(found, Manifest)
    assert module_layer(found) == (found.layers[1], "raw")
    layers = [descriptor(OCI_LAYER + "+gzip", digest=EMPTY_LAYER), descriptor(OCI_LAYER + "+gzip", 2)]
    found = read(manifest(layers=layers))
    assert isinstance(found, Manifest)
    assert module_layer(found) == (found.layers[1], "tar+gzip")


@pytest.mark.parametrize(
    ("layers", "what"),
    [
        ([], "found 0 layers (nothing)"),
        ([WASM, WASM], f"found 2 layers ({WASM}, {WASM})"),
        ([WASM, WASM_TO_OCI], "found 2 layers"),
        ([OCI_LAYER, OCI_LAYER], "found 2 layers"),
        (["application/vnd.cncf.helm.chart.content.v1.tar+gzip"], "found 1 layer (application/vnd.cncf.helm.chart"),
        (["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"], "found 1 layer"),
        (["x"] * 7, "(x, x, x, x, x and 2 more)"),
    ],
)
def test_where_there_is_no_module(layers: list[str], what: str) -> None:
    found = read(manifest(*layers))
    assert isinstance(found, Manifest)
    with pytest.raises(Invalid) as raised:
        module_layer(found)
    assert what in str(raised.value)
    assert f"config {WASM_CONFIG}; accepted are one layer {WASM} or {WASM_TO_OCI}, or an image" in str(raised.value)


@pytest.mark.parametrize(
    ("platforms", "chosen"),
    [
        (["linux/amd64", "wasip1/wasm"], 2),
        (["wasip2/wasm", "wasi/wasm", "wasip1/wasm"], 3),
        (["wasip2/wasm", "wasi/wasm"], 2),
        (["linux/amd64", "wasi/wasm32"], 2),
        (["linux/amd64", "linux/wasm"], 2),
        (["linux/amd64", "wasip2/wasm"], 2),
        (["wasip1/wasm", "wasip1/wasm"], 1),
        (["linux/amd64"], 1),
        ([None], 1),
        (["unknown/unknown", "linux/amd64"], 2),
    ],
)
def test_platform(platforms: list[str | None], chosen: int) -> None:
    found = read(index(*platforms), OCI_INDEX)
    assert isinstance(found, Index)
    assert choose_manifest(found).size == chosen


@pytest.mark.parametrize(
    ("platforms", "what"),
    [
        (
            ["linux/amd64", "linux/arm64"],
            "found an index of linux/amd64, linux/arm64; accepted is an entry for wasip1/",
        ),
        ([None, None], "found an index of no platform, no platform"),
        ([], "found an index of nothing"),
        (["unknown/unknown"], "found an index of nothing"),
    ],
)
def test_no_platform(platforms: list[str | None], what: str) -> None:
    found = read(index(*platforms), OCI_INDEX)
    assert isinstance(found, Index)
    with pytest.raises(Invalid) as raised:
        choose_manifest(found)
    assert what in str(raised.value)


def test_attestations_by_their_annotation() -> None:
    attestation = {"vnd.docker.reference.type": "attestation-manifest"}
    document = index("linux/amd64", None)
    document["manifests"][1]["annotations"] = attestation
    found = read(document, OCI_INDEX)
    assert isinstance(found, Index)
    assert choose_manifest(found).size == 1


def test_where_an_error_is() -> None:
    error = Invalid("it is wrong")
    assert str(error.at("r.io/a:1")) == "r.io/a:1: it is wrong"
    assert error.at("r.io/a:1").at("elsewhere").where == "r.io/a:1"
    assert isinstance(error.at("x"), Invalid)
    assert isinstance(error, RegistryError)
