"""Pulls from and pushes to a real registry: plain, with TLS, with a password, through a fault proxy."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clock import assert_within
from tests.support.fault_proxy import (
    Answer,
    Fault,
    FaultProxy,
    Received,
    endless,
    refusing,
    slow,
    stalled,
    tampered,
    truncated,
)
from tests.support.registry import Registry, write_authority
from tests.support.repositories import USER, fetched, layer_of, module, own_home, pulled, repository  # noqa: F401
from wagi_gateway.config.image_reference import ImageReference
from wagi_gateway.sources.oci.endpoint import Credentials, RegistryEndpoint
from wagi_gateway.sources.oci.errors import ImageNotFound, Invalid, RegistryError, TooLarge, Unauthorised, Unreachable
from wagi_gateway.sources.oci.manifest import MAX_MANIFEST, Descriptor, Manifest, parse_manifest
from wagi_gateway.sources.oci.repository import Form, Repository
from wagi_gateway.sources.oci.retry import RetryPolicy

MODULE = module()
DIGEST = f"sha256:{hashlib.sha256(MODULE).hexdigest()}"
NOWHERE = "sha256:" + "0" * 64


pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture(scope="module")
def hello(registry: Registry) -> Registry:
    """A plain registry with team/hello:1."""
    with pytest.MonkeyPatch.context() as environment, repository(registry) as own:
        environment.setenv("no_proxy", "*")
        own.push_module(MODULE)
    return registry


@pytest.fixture
def proxy(hello: Registry) -> Iterator[FaultProxy]:
    """A fault proxy in front of the plain registry."""
    with FaultProxy(hello.address) as running:
        yield running


def is_blob(request: Received) -> bool:
    return request.is_blob


def is_manifest(request: Received) -> bool:
    return request.is_manifest


def manifest_of(own: Repository) -> Manifest:
    _, data, media_type = own.resolve(own.reference.version)
    manifest = parse_manifest(data, media_type)
    assert isinstance(manifest, Manifest)
    return manifest


@pytest.mark.parametrize("form", ["cncf", "wasm-to-oci"])
def test_push_and_pull(registry: Registry, form: Form) -> None:
    with repository(registry, f"push/{form}:1") as own:
        digest = own.push_module(MODULE, annotations={"a": "b"}, form=form, name="hello.wasm")
        assert own.resolve("1")[0] == own.digest_of("1") == digest
        assert own.resolve(digest)[0] == digest
        assert pulled(own) == MODULE
        manifest = manifest_of(own)
        assert own.push_module(MODULE, "2", {"a": "b"}, form, name="hello.wasm") == digest
    assert manifest.annotations == {"a": "b"}
    assert manifest.layers[0].annotations == {"org.opencontainers.image.title": "hello.wasm"}


@pytest.mark.parametrize(
    ("form", "layer", "config", "content"),
    [
        (
            "cncf",
            "application/wasm",
            "application/vnd.wasm.config.v0+json",
            {"created": "1970-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip1", "layerDigests": [DIGEST]},
        ),
        (
            "wasm-to-oci",
            "application/vnd.wasm.content.layer.v1+wasm",
            "application/vnd.wasm.config.v1+json",
            {},
        ),
    ],
)
def test_what_is_pushed(registry: Registry, form: Form, layer: str, config: str, content: dict[str, Any]) -> None:
    with repository(registry, f"form/{form}") as own:
        own.push_module(MODULE, form=form)
        manifest = manifest_of(own)
        assert manifest.media_type == "application/vnd.oci.image.manifest.v1+json"
        assert [(each.media_type, each.digest, each.size) for each in manifest.layers] == [(layer, DIGEST, len(MODULE))]
        assert manifest.config.media_type == config
        assert json.loads(fetched(own, manifest.config)) == content


def test_the_time_of_a_build(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    with repository(registry, "epoch") as own:
        own.push_module(MODULE)
        assert json.loads(fetched(own, manifest_of(own).config))["created"] == "2023-11-14T22:13:20Z"


def test_a_time_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
    with pytest.raises(Invalid, match="SOURCE_DATE_EPOCH is not a number of seconds"):
        repository("127.0.0.1:1").push_module(MODULE)


@pytest.mark.parametrize(
    ("data", "what"),
    [(b"(module)", "is not a WebAssembly module"), (b"\0asm\r\0\2\0", "is not a WebAssembly module")],
)
def test_what_is_not_pushed(data: bytes, what: str) -> None:
    with pytest.raises(Invalid, match=what):
        repository("127.0.0.1:1").push_module(data)


def test_a_blob_that_is_there_is_not_sent_again(proxy: FaultProxy) -> None:
    with repository(proxy.address) as own:
        own.push_module(MODULE, "again")
    assert [request.method for request in proxy.received] == ["HEAD", "HEAD", "PUT"]


def test_tls_and_password(private_registry: Registry) -> None:
    with repository(private_registry, credentials=USER) as own:
        own.push_module(MODULE)
    with repository(private_registry, credentials=USER) as own:
        assert pulled(own) == MODULE


def test_a_moved_tag(registry: Registry) -> None:
    with repository(registry, "moved:1") as own:
        first = own.push_module(module(1))
        second = own.push_module(module(2))
        assert own.digest_of("1") == own.resolve("1")[0] == second
        assert own.resolve(first)[0] == first


def test_another_name_at_a_mirror(registry: Registry) -> None:
    with repository(registry, "hub/library/hello:1") as own:
        own.push_module(MODULE)
    mirrored = Repository(
        ImageReference.parse("hello:1"), RegistryEndpoint(registry.address, is_plain=True, prefix="hub")
    )
    with mirrored:
        assert pulled(mirrored) == MODULE
        with pytest.raises(ImageNotFound, match=f"^docker.io/library/hello:1 at {registry.address}: "):
            mirrored.resolve("none")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("team/hello:none", "MANIFEST_UNKNOWN"),
        ("team/none:1", "MANIFEST_UNKNOWN|NAME_UNKNOWN"),
        (f"team/hello@{NOWHERE}", "MANIFEST_UNKNOWN"),
    ],
)
def test_not_there(registry: Registry, name: str, what: str) -> None:
    with repository(registry, name) as own:
        for ask in (own.resolve, own.digest_of):
            with pytest.raises(ImageNotFound, match=what) as raised:
                ask(own.reference.version)
            assert str(raised.value).startswith(f"{registry.address}/{name}: ")
            assert "check repository and tag or digest" in str(raised.value)


def test_a_blob_that_is_not_there(registry: Registry) -> None:
    with repository(registry) as own, pytest.raises(ImageNotFound, match="BLOB_UNKNOWN"):
        fetched(own, Descriptor(media_type="x", digest=NOWHERE, size=3))


@pytest.mark.parametrize(
    ("credentials", "what"),
    [
        (None, "wants a login; `docker login 127.0.0.1:"),
        (Credentials(username="user", password="SECRET"), "does not accept the credentials"),
        (Credentials(username="nobody", password="SECRET"), "does not accept the credentials"),
        (Credentials(identity_token="SECRET"), "wants a login of another kind .* basic"),
        (Credentials(registry_token="SECRET"), "wants a login of another kind .* basic"),
    ],
    ids=["none", "wrong-password", "wrong-user", "identity", "registry-token"],
)
def test_no_entry(private_registry: Registry, credentials: Credentials | None, what: str) -> None:
    with repository(private_registry, credentials=credentials) as own:
        for ask in (own.resolve, own.digest_of, lambda tag: own.push_module(MODULE, tag)):
            with pytest.raises(Unauthorised, match=what) as raised:
                ask("1")
            assert "SECRET" not in str(raised.value)


def tls_of(directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    return context


def test_errors_of_certificates(private_registry: Registry, registry: Registry, tmp_path: Path) -> None:
    """An error of a certificate or a wrong scheme is not retried."""
    other = write_authority(tmp_path)
    (tmp_path / "not.pem").write_text("no certificate")
    cases: list[tuple[str, dict[str, Any], str]] = [
        (
            private_registry.address,
            {"is_plain": False},
            "is not trusted: unable to get local issuer .*; name the file .* ca_file",
        ),
        (
            private_registry.address,
            {"ca_file": other},
            "is not trusted: unable to get local issuer|is not trusted: certificate",
        ),
        (
            private_registry.address,
            {"ca_file": tmp_path / "none.pem"},
            "its ca_file .*none.pem cannot be read: No such file",
        ),
        (private_registry.address, {"ca_file": tmp_path / "not.pem"}, "its ca_file .*not.pem holds no certificate"),
        (private_registry.address, {"is_plain": True}, "speaks TLS; set insecure = false"),
        (registry.address, {"is_plain": False}, "does not speak TLS; .* set insecure = true"),
    ]
    for address, options, what in cases:
        with pytest.raises(Unreachable, match=what), repository(address, backoff=5, **options) as own:
            own.resolve("1")
    with (
        FaultProxy(tls=tls_of(tmp_path), host="127.0.0.2") as elsewhere,
        repository(elsewhere.address, ca_file=other) as own,
        pytest.raises(Unreachable, match=r"is not valid for '127\.0\.0\.2'.*; use the name that it is for"),
    ):
        own.resolve("1")


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1:1", "127.0.0.1:1 cannot be reached: Connection refused; check its name"),
        ("nowhere.invalid", "nowhere.invalid cannot be found: .*; check its name"),
    ],
)
def test_unreachable_addresses(address: str, what: str) -> None:
    with repository(address, retries=1) as own:
        for ask in (own.resolve, own.digest_of, lambda tag: own.push_module(MODULE, tag)):
            with pytest.raises(Unreachable, match=what):
                ask("1")


DAMAGED: dict[str, Fault] = {
    "by-length": truncated(),
    "by-close": truncated(framing="close"),
    "in-a-chunk": truncated(framing="chunked"),
    "tampered": tampered,
    "lost": lambda _request, _proxy: Answer(200, {}, iter(()), len(MODULE)),
    "503": lambda _request, _proxy: Answer(503),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_blob_that_arrives_at_the_second_time(proxy: FaultProxy, name: str) -> None:
    proxy.fault(is_blob, DAMAGED[name], times=1)
    with repository(proxy.address) as own:
        seen: list[int] = []
        assert fetched(own, layer_of(own), on_received=seen.append) == MODULE
    assert seen[-1] == len(MODULE)
    assert proxy.downloads == [DIGEST] * 2


@pytest.mark.parametrize(
    ("name", "kind", "what", "times"),
    [
        (
            "by-length",
            Unreachable,
            "stopped in the middle of the layer, 50 bytes were there|ended the layer after 50",
            3,
        ),
        ("by-close", Unreachable, f"ended the layer after 50 of {len(MODULE)} bytes", 3),
        ("in-a-chunk", Unreachable, "stopped in the middle of the layer", 3),
        ("tampered", Invalid, f"is not {DIGEST}; it is damaged or forged", 2),
        ("503", Unreachable, "answers 503 Service Unavailable; try again later", 3),
    ],
)
def test_a_blob_that_never_arrives(proxy: FaultProxy, name: str, kind: type, what: str, times: int) -> None:
    proxy.fault(is_blob, DAMAGED[name])
    with repository(proxy.address, retries=2) as own, pytest.raises(kind, match=what):
        pulled(own)
    assert len(proxy.downloads) == times


def test_a_stalled_blob(proxy: FaultProxy) -> None:
    proxy.fault(is_blob, stalled, times=1)
    with repository(proxy.address, stall_time=0.2) as own:
        assert pulled(own) == MODULE
    proxy.fault(is_blob, stalled)
    with (
        repository(proxy.address, stall_time=0.2, retries=0) as own,
        pytest.raises(Unreachable, match="stopped in the"),
    ):
        pulled(own)


def test_a_slow_blob(proxy: FaultProxy) -> None:
    """A slow body times out as a whole, not at a read."""
    proxy.fault(is_blob, slow)
    with repository(proxy.address, transfer_time=0.4) as own:
        layer = layer_of(own)
        start = time.monotonic()
        with pytest.raises(Unreachable, match=r"took longer than the 0\.4 s it has"):
            fetched(own, layer)
        assert_within(time.monotonic() - start, 2)


def test_a_blob_without_end(proxy: FaultProxy) -> None:
    proxy.fault(is_blob, endless)
    with repository(proxy.address) as own, pytest.raises(TooLarge, match=f"sends more than {len(MODULE)} bytes"):
        pulled(own)
    assert len(proxy.downloads) == 1


def test_a_blob_of_another_size(proxy: FaultProxy) -> None:
    """The Content-Length is checked before the body is read."""
    proxy.fault(is_blob, lambda _request, _proxy: Answer(200, {}, b"x", 1 << 40))
    with (
        repository(proxy.address) as own,
        pytest.raises(Invalid, match=f"1099511627776 bytes is offered, not of {len(MODULE)}"),
    ):
        pulled(own)


def test_a_cancelled_download(proxy: FaultProxy) -> None:
    proxy.fault(is_blob, DAMAGED["by-length"])
    over = threading.Event()
    access = RegistryEndpoint(proxy.address, is_plain=True)
    with Repository(
        ImageReference.parse(f"{proxy.address}/team/hello:1"), access, RetryPolicy(backoff=60), over
    ) as own:
        layer = layer_of(own)
        over.set()
        with pytest.raises(Unreachable, match="it was given up"):
            fetched(own, layer)
    assert len(proxy.downloads) == 1


def test_a_compressed_answer_is_not_unpacked(proxy: FaultProxy) -> None:
    proxy.fault(is_blob, lambda request, proxy: Answer(200, {"Content-Encoding": "gzip"}, proxy.genuine(request).body))
    with repository(proxy.address) as own:
        assert pulled(own) == MODULE
    assert {request.headers["accept-encoding"] for request in proxy.received} == {"identity"}


def test_a_sha512_digest(proxy: FaultProxy) -> None:
    data = b"some blob"
    digest = f"sha512:{hashlib.sha512(data).hexdigest()}"
    proxy.fault(is_blob, lambda _request, _proxy: Answer(200, {}, data))
    with repository(proxy.address) as own:
        assert fetched(own, Descriptor(media_type="x", digest=digest, size=len(data))) == data


@pytest.mark.parametrize(
    ("answer", "kind", "what"),
    [
        (Answer(200, {}, bytes(MAX_MANIFEST + 1)), TooLarge, f"more than {MAX_MANIFEST} bytes for the manifest"),
        (Answer(200, {"Docker-Content-Digest": NOWHERE}, b"{}"), Invalid, f"is not {NOWHERE} but sha256:44136"),
        (Answer(204), Invalid, "answers 204 where content should be"),
        (Answer(304), Invalid, "answers 304 where content should be"),
        (Answer(418, {}, b"short and stout"), Invalid, "refuses the request: 418 I'm a Teapot"),
        (
            Answer(403, {}, b'{"errors":[{"code":"DENIED","message":"no\\n\\u001b[1m"}]}'),
            Unauthorised,
            r"DENIED: no  \[1m",
        ),
        (Answer(599), Unreachable, "answers 599; try again later"),
    ],
    ids=["huge", "lying", "204", "304", "418", "403", "599"],
)
def test_bad_manifests(proxy: FaultProxy, answer: Answer, kind: type[RegistryError], what: str) -> None:
    proxy.fault(is_manifest, lambda _request, _proxy: answer)
    with repository(proxy.address) as own, pytest.raises(kind, match=what) as raised:
        own.resolve("1")
    assert str(raised.value).startswith(f"{proxy.address}/team/hello:1: ")


def test_a_manifest_that_is_not_its_digest(proxy: FaultProxy) -> None:
    with repository(proxy.address) as own:
        digest = own.digest_of("1")
        proxy.fault(is_manifest, tampered)
        with pytest.raises(Invalid, match=f"is not {digest} but "):
            own.resolve(digest)


def test_a_manifest_without_end(proxy: FaultProxy) -> None:
    proxy.fault(is_manifest, endless)
    with repository(proxy.address) as own, pytest.raises(TooLarge):
        own.resolve("1")


def test_a_manifest_that_never_ends_arriving(proxy: FaultProxy) -> None:
    proxy.fault(is_manifest, slow)
    with repository(proxy.address, answer_time=0.3) as own, pytest.raises(Unreachable, match=r"longer than the 0\.3 s"):
        own.resolve("1")


def hanging_up(_request: Received, _proxy: FaultProxy) -> Answer:
    raise ConnectionResetError


HEADS: dict[str, Fault] = {
    **{str(status): refusing(status) for status in (400, 401, 403, 404, 405, 406, 500, 501, 503)},
    "200 without digest": refusing(200),
    "204": refusing(204),
    "304": refusing(304),
    "redirect to nowhere": refusing(302),
    "challenge of another kind": refusing(401, WWW_Authenticate="Negotiate"),
    "challenge without a token server": refusing(401, WWW_Authenticate="Bearer"),
    "challenge without credentials": refusing(401, WWW_Authenticate='Basic realm="x"'),
    "hang-up": hanging_up,
    "body": lambda *_: Answer(200, {}, b"x", 5),
}
"""Answers to HEAD by registries that support only GET."""


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_registries_without_head(proxy: FaultProxy, head: Fault, retries: int) -> None:
    proxy.fault(lambda request: request.method == "HEAD", head)
    with repository(proxy.address, retries=retries) as own:
        assert own.digest_of("1") == own.resolve("1")[0]


@pytest.mark.parametrize("head", [HEADS["403"], HEADS["501"], HEADS["hang-up"]], ids=["403", "501", "hang-up"])
def test_a_push_without_head(proxy: FaultProxy, head: Fault) -> None:
    proxy.fault(lambda request: request.method == "HEAD", head)
    with repository(proxy.address) as own:
        own.push_module(module(24), "without-head")
        assert pulled(repository(proxy.address, "team/hello:without-head")) == module(24)


def test_a_head_without_answer(proxy: FaultProxy) -> None:
    def silent(_request: Received, running: FaultProxy) -> Answer:
        running.ending.wait()
        return Answer()

    proxy.fault(lambda request: request.method == "HEAD", silent)
    with repository(proxy.address, retries=0, stall_time=30, answer_time=4) as own:
        assert own.digest_of("1") == own.resolve("1")[0]


def test_head_does_not_ask_a_busy_registry_again(proxy: FaultProxy) -> None:
    proxy.fault(lambda _: True, refusing(429))
    with repository(proxy.address, retries=0) as own, pytest.raises(Unreachable, match="429"):
        own.digest_of("1")
    assert [request.method for request in proxy.received] == ["HEAD"]


def test_a_registry_that_is_not_there_is_asked_once() -> None:
    with repository("127.0.0.1:1", retries=0) as own, pytest.raises(Unreachable, match="cannot be reached"):
        own.digest_of("1")


def test_all_media_types_are_accepted(proxy: FaultProxy) -> None:
    """With fewer types, docker-registry converts manifests, which changes their digests, or returns none."""
    with repository(proxy.address) as own:
        own.resolve("1")
    assert len(re.findall(r"application/vnd\.(?:oci|docker)[^,]+", proxy.received[0].headers["accept"])) == 4


def test_a_registry_that_does_not_know_the_cncf(proxy: FaultProxy) -> None:
    refusal = b'{"errors":[{"code":"MANIFEST_INVALID","message":"unknown media type"}]}'
    proxy.fault(lambda request: request.is_manifest and request.method == "PUT", lambda *_: Answer(400, {}, refusal))
    with repository(proxy.address) as own, pytest.raises(Invalid, match=r"MANIFEST_INVALID.*the form wasm-to-oci"):
        own.push_module(MODULE)


def test_a_registry_that_stores_something_else(proxy: FaultProxy) -> None:
    answer = Answer(201, {"Docker-Content-Digest": NOWHERE})
    proxy.fault(lambda request: request.is_manifest and request.method == "PUT", lambda *_: answer)
    with repository(proxy.address) as own, pytest.raises(Invalid, match="stored another manifest than it was sent"):
        own.push_module(MODULE)


def test_an_upload_that_has_no_place(proxy: FaultProxy) -> None:
    proxy.fault(lambda request: request.method == "POST", lambda *_: Answer(202))
    with repository(proxy.address) as own, pytest.raises(Invalid, match="names no place to upload to"):
        own.push_module(module(9))


def test_a_large_module(registry: Registry, tmp_path: Path) -> None:
    data = module(7, 20 << 20)
    with repository(registry, "large") as own:
        own.push_module(data)
        layer = layer_of(own)
        with (tmp_path / "layer").open("w+b") as file:
            own.fetch_blob(layer, file)
            assert file.tell() == layer.size == len(data)
    assert (tmp_path / "layer").read_bytes() == data


def test_a_disk_that_is_full(registry: Registry) -> None:
    class Full(io.BytesIO):
        def write(self, *_: Any) -> int:
            raise OSError(28, "No space left on device")

    with repository(registry) as own:
        own.push_module(MODULE)
        with pytest.raises(OSError, match="No space left"):
            own.fetch_blob(layer_of(own), Full())


def test_one_connection(proxy: FaultProxy) -> None:
    with repository(proxy.address) as own:
        pulled(own)
        own.push_module(module(3))
    assert proxy.connections == 1


def test_a_start_without_the_network_does_not_import_oras() -> None:
    import subprocess
    import sys

    code = (
        "import sys, wagi_gateway.sources.oci.repository, wagi_gateway.sources.oci.layer\n"
        "slow = {'oras', 'requests', 'urllib3', 'backports.zstd', 'compression.zstd'} & sys.modules.keys()\n"
        "assert not slow, slow"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_fault_proxy_passes_what_it_gets(proxy: FaultProxy, registry: Registry) -> None:
    answers = []
    for address in (registry.address, proxy.address):
        connection = http.client.HTTPConnection(address)
        connection.request("GET", f"/v2/team/hello/blobs/{DIGEST}")
        response = connection.getresponse()
        answers.append((response.status, response.headers["Docker-Content-Digest"], response.read()))
        connection.close()
    assert answers[0] == answers[1] == (200, DIGEST, MODULE)
