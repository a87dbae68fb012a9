"""One repository at one endpoint: resolves tags, fetches and verifies blobs, pushes modules.

oras and requests are imported at the first request, so that a start without one does not pay for them.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple, Self

from ...config.image_reference import DOCKER_HUB_HOST, ImageReference, is_digest
from .endpoint import RegistryEndpoint
from .errors import Invalid, TooLarge, Unreachable
from .manifest import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST,
    OCI_MANIFEST,
    WASM,
    WASM_CONFIG,
    WASM_TO_OCI,
    WASM_TO_OCI_CONFIG,
    Descriptor,
)
from .retry import DEFAULT_POLICY, RetryPolicy

if TYPE_CHECKING:
    import requests

    from .oras_client import OrasClient

Form = Literal["cncf", "wasm-to-oci"]
"""The form of a push: the CNCF's artefact layout, or that of wasm-to-oci and Krustlet."""
OnReceived = Callable[[int], None]
"""Called with the received bytes of a blob; begins at 0 again when a download is repeated."""

_READ_SIZE = 1 << 16
_ACCEPT = {"Accept": ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))}
"""All media types: a registry may convert a manifest to an accepted type, which changes its digest."""
_CORE, _COMPONENT = b"\0asm\1\0\0\0", b"\0asm\r\0\1\0"


class ResolvedManifest(NamedTuple):
    """A manifest or index, verified against its digest."""

    digest: str
    data: bytes
    media_type: str
    """The Content-Type."""


class Repository:
    """A client of one repository, for one thread; closed by `close` or as a context manager."""

    def __init__(
        self,
        reference: ImageReference,
        endpoint: RegistryEndpoint,
        retry: RetryPolicy = DEFAULT_POLICY,
        cancelled: threading.Event | None = None,
    ) -> None:
        """Once `cancelled` is set, no request is repeated."""
        self.reference = reference
        self.endpoint = endpoint
        self.retry = retry
        self._cancelled = cancelled
        self.repository = f"{endpoint.prefix}/{reference.repository}" if endpoint.prefix else reference.repository

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        if client := self.__dict__.pop("_client", None):
            client.session.close()

    def digest_of(self, tag: str) -> str:
        """Resolves a tag to its digest: by HEAD, or by GET if the registry refuses HEAD or sends no digest. Raises
        RegistryError."""
        client = self._client
        with client.session.deadline.within(self.retry.answer_time):
            with client.do_request(self._manifest_url(tag), "HEAD", headers=_ACCEPT) as response:
                digest = response.headers.get("Docker-Content-Digest", "")
                if response.status_code == 200 and is_digest(digest):
                    return digest
            return self._resolve(tag).digest

    def resolve(self, version: str) -> ResolvedManifest:
        """Fetches a manifest or index and verifies its digest. Raises RegistryError.

        A tag's manifest is verified against the digest in the registry's answer, if it states one.
        """
        with self._client.session.deadline.within(self.retry.answer_time):
            return self._resolve(version)

    def _resolve(self, version: str) -> ResolvedManifest:
        with self._client.do_request(self._manifest_url(version), headers=_ACCEPT, stream=True) as response:
            self._expect_content(response)
            data = b"".join(self._pieces(response, MAX_MANIFEST, "the manifest"))
        wanted = version if is_digest(version) else response.headers.get("Docker-Content-Digest", "")
        digest = wanted if is_digest(wanted) else _digest(data)
        if _digest(data, digest) != digest:
            raise Invalid(
                f"what {self.endpoint.host} sends is not {digest} but {_digest(data, digest)}; it is damaged or forged",
                self._where,
            )
        return ResolvedManifest(digest, data, response.headers.get("Content-Type", ""))

    def fetch_blob(
        self,
        descriptor: Descriptor,
        file: BinaryIO,
        on_received: OnReceived = lambda done: None,  # noqa: ARG005
    ) -> None:
        """Writes a verified blob to an empty file, which stays empty on failure. Raises RegistryError and `file`'s
        OSError.

        A blob longer than its descriptor states is an error.
        """
        session = self._client.session
        deadline = session.deadline
        with deadline.within(self.retry.transfer_time):
            for attempt in range(self.retry.retries + 1):
                pause = self.retry.pause(attempt)
                try:
                    self._fetch(descriptor, file, on_received)
                except BaseException as error:
                    file.seek(0)
                    file.truncate()
                    if attempt >= self._max_repeats(error) or deadline.left <= pause:
                        raise
                else:
                    return
                session.pause(pause)

    def push_module(
        self,
        module: bytes,
        tag: str | None = None,
        annotations: Mapping[str, str] | None = None,
        form: Form = "cncf",
        *,
        name: str | None = None,
    ) -> str:
        """Pushes a module with `tag`, else the reference's; returns the manifest's digest. Raises RegistryError.

        The same module, name and annotations have the same digest.
        """
        _check_module(module, self._where)
        digest = _digest(module)
        config = json.dumps(_cncf_config(digest, _system(module)) if form == "cncf" else {}).encode()
        wasm, config_type = (WASM, WASM_CONFIG) if form == "cncf" else (WASM_TO_OCI, WASM_TO_OCI_CONFIG)
        # `oras pull` names the file by its title, and ignores a layer without one.
        title = {"annotations": {"org.opencontainers.image.title": name}} if name else {}
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": config_type, "digest": _digest(config), "size": len(config)},
            "layers": [{"mediaType": wasm, "digest": digest, "size": len(module), **title}],
        }
        if annotations:
            manifest["annotations"] = dict(annotations)
        document = json.dumps(manifest, separators=(",", ":")).encode()
        client = self._client
        with client.session.deadline.within(self.retry.transfer_time):
            self._upload(module)
            self._upload(config)
            url = self._manifest_url(tag or self.reference.tag or "latest")
            with client.do_request(url, "PUT", data=document, headers={"Content-Type": OCI_MANIFEST}) as response:
                stored = response.headers.get("Docker-Content-Digest") or _digest(document)
        if stored != _digest(document):
            raise Invalid(
                f"{self.endpoint.host} stored another manifest than it was sent, {stored[:80]!r}", self._where
            )
        return stored

    @cached_property
    def _client(self) -> OrasClient:
        from .oras_client import OrasClient

        return OrasClient(self.endpoint, self.repository, self._where, self.retry, self._cancelled)

    @property
    def _where(self) -> str:
        is_own = self.endpoint.host in (self.reference.registry, DOCKER_HUB_HOST)
        return str(self.reference) if is_own else f"{self.reference} at {self.endpoint.host}"

    def _manifest_url(self, name: str) -> str:
        return f"{self._client.prefix}://{self._client.container.manifest_url(name)}"

    def _fetch(self, descriptor: Descriptor, file: BinaryIO, on_received: OnReceived) -> None:
        checksum, done = hashlib.new(descriptor.digest.partition(":")[0]), 0
        client = self._client
        with client.get_blob(client.container, descriptor.digest, stream=True) as response:
            self._expect_content(response)
            stated = response.headers.get("Content-Length", "")
            if stated.isascii() and stated.isdigit() and stated != str(descriptor.size):
                raise Invalid(f"a blob of {stated[:20]} bytes is offered, not of {descriptor.size}", self._where)
            for piece in self._pieces(response, descriptor.size, "the layer"):
                file.write(piece)
                checksum.update(piece)
                done += len(piece)
                on_received(done)
        if done < descriptor.size:
            what = f"{self.endpoint.host} ended the layer after {done} of {descriptor.size} bytes; try again"
            raise Interrupted(what, self._where)
        if f"{checksum.name}:{checksum.hexdigest()}" != descriptor.digest:
            what = f"what {self.endpoint.host} sends is not {descriptor.digest}; it is damaged or forged"
            raise Invalid(what, self._where)

    def _max_repeats(self, error: BaseException) -> int:
        """How often a blob is requested again after an error; RegistrySession has repeated failed requests already."""
        if isinstance(error, Interrupted):
            return self.retry.retries
        return min(1, self.retry.retries) if isinstance(error, Invalid) else 0  # may be damaged in transit

    def _expect_content(self, response: requests.Response) -> None:
        if response.status_code != 200:
            what = f"{self.endpoint.host} answers {response.status_code} where content should be; check the registry"
            raise Invalid(what, self._where)

    def _pieces(self, response: requests.Response, limit: int, what: str) -> Iterator[bytes]:
        """The body's bytes as they arrive, without decoding. Raises TooLarge beyond `limit` bytes."""
        left = limit
        while True:
            try:
                # read() would wait for all bytes of the size.
                piece = response.raw.read1(min(_READ_SIZE, left + 1), decode_content=False)
            except Exception:  # noqa: BLE001 - by urllib3, http.client, ssl or OSError: the body has ended early
                if self._client.session.deadline.has_passed:
                    raise self._deadline_error() from None
                text = (
                    f"{self.endpoint.host} stopped in the middle of {what}, {limit - left} bytes were there; try again"
                )
                raise Interrupted(text, self._where) from None
            if not piece:
                break
            left -= len(piece)
            if left < 0:
                raise TooLarge(f"{self.endpoint.host} sends more than {limit} bytes for {what}", self._where)
            yield piece
        if self._client.session.deadline.has_passed:  # a connection that was shut down reads as ended
            raise self._deadline_error()

    def _deadline_error(self) -> Unreachable:
        seconds = self._client.session.deadline.seconds
        return Unreachable(f"{self.endpoint.host} took longer than the {seconds:g} s it has; try again", self._where)

    def _upload(self, data: bytes) -> None:
        client = self._client
        descriptor = {"digest": _digest(data), "size": len(data)}
        with tempfile.NamedTemporaryFile() as file:  # oras uploads a path
            file.write(data)
            file.flush()
            try:
                client.upload_blob(file.name, client.container, descriptor)
            except ValueError:  # oras: "Issue retrieving session url"
                raise Invalid(f"{self.endpoint.host} names no place to upload to", self._where) from None


class Interrupted(Unreachable):
    """A body ended early; another attempt may succeed."""


def _digest(data: bytes, like: str = "sha256:") -> str:
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def _check_module(data: bytes, where: str) -> None:
    if not data.startswith((_CORE, _COMPONENT)):
        raise Invalid("this is not a WebAssembly module; text (.wat) has to be compiled first", where)


def _system(module: bytes) -> str:
    """The `os` of a module: the version of WASI."""
    return "wasip2" if module.startswith(_COMPONENT) else "wasip1"


def _cncf_config(digest: str, system: str) -> dict[str, object]:
    # Reproducible: without SOURCE_DATE_EPOCH the time is the epoch, so that a module has one digest however often it is
    # pushed.
    try:
        built = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH") or 0))
    except (ValueError, OverflowError, OSError):
        raise Invalid("SOURCE_DATE_EPOCH is not a number of seconds") from None
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", built)
    return {"created": created, "architecture": "wasm", "os": system, "layerDigests": [digest]}
