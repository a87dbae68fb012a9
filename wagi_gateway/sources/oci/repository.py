"""One repository of one registry: names become digests, digests become verified bytes, modules are pushed.

oras and requests are imported with the first request, so that a start without one does not pay for them.
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
from typing import TYPE_CHECKING, BinaryIO, Literal, Self

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
from .retry import PATIENT, RetryPolicy

if TYPE_CHECKING:
    import requests

    from .oras_client import OrasClient

Form = Literal["cncf", "wasm-to-oci"]
"""What a module is pushed as: the CNCF's artefact, or what wasm-to-oci and Krustlet used."""
OnProgress = Callable[[int], None]
"""Told how many bytes of a blob are there; starts anew at 0 when a download is repeated."""

_PIECE = 1 << 16
_ACCEPT = {"Accept": ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))}
"""All of them: without one, a registry converts what it has, and the digest is another."""
_CORE, _COMPONENT = b"\0asm\1\0\0\0", b"\0asm\r\0\1\0"


class Repository:
    """Speaks for one repository; close it, or use it as a context. One object for each thread."""

    def __init__(
        self,
        reference: ImageReference,
        access: RegistryEndpoint,
        retry: RetryPolicy = PATIENT,
        over: threading.Event | None = None,
    ) -> None:
        """Once `over` is set, nothing is asked for again."""
        self.reference = reference
        self.access = access
        self.retry = retry
        self._over = over
        self.repository = f"{access.prefix}/{reference.repository}" if access.prefix else reference.repository

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections that are kept."""
        if client := self.__dict__.pop("_client", None):
            client.session.close()

    def digest_of(self, tag: str) -> str:
        """The digest that a tag means now, without its manifest where the registry can say so. Raises RegistryError."""
        client = self._client
        with client.session.deadline.within(self.retry.answer_time):
            url = self._manifest_url(tag)
            with client.do_request(url, "HEAD", headers=_ACCEPT) as response:
                digest = response.headers.get("Docker-Content-Digest", "")
                if response.status_code == 200 and is_digest(digest):
                    return digest
        return self.resolve(tag)[0]

    def resolve(self, tag_or_digest: str) -> tuple[str, bytes, str]:
        """Digest, bytes and media type of a manifest or index, verified against the digest. Raises RegistryError.

        A tag's manifest is verified against the digest that the registry states for it.
        """
        client = self._client
        with (
            client.session.deadline.within(self.retry.answer_time),
            client.do_request(self._manifest_url(tag_or_digest), headers=_ACCEPT, stream=True) as response,
        ):
            self._expect_content(response)
            data = b"".join(self._pieces(response, MAX_MANIFEST, "the manifest"))
        wanted = tag_or_digest if is_digest(tag_or_digest) else response.headers.get("Docker-Content-Digest", "")
        digest = wanted if is_digest(wanted) else _digest(data)
        if _digest(data, digest) != digest:
            raise Invalid(
                f"what {self.access.host} sends is not {digest} but {_digest(data, digest)}; it is damaged or forged",
                self._where,
            )
        return digest, data, response.headers.get("Content-Type", "")

    def fetch_blob(
        self,
        descriptor: Descriptor,
        file: BinaryIO,
        on_progress: OnProgress = lambda done: None,  # noqa: ARG005
    ) -> None:
        """Writes a blob to an empty file, verified, or leaves that empty. Raises RegistryError and `file`'s OSError.

        It is never longer than its descriptor says.
        """
        session = self._client.session
        deadline = session.deadline
        with deadline.within(self.retry.transfer_time):
            for attempt in range(self.retry.retries + 1):
                pause = self.retry.pause(attempt)
                try:
                    self._fetch(descriptor, file, on_progress)
                except BaseException as error:
                    file.seek(0)
                    file.truncate()
                    if attempt >= self._repeats(error) or deadline.left <= pause:
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
        """Pushes a module, under the reference's tag if there is no other; the manifest's digest.

        The same module, name and annotations have the same digest. Raises RegistryError.
        """
        _check_module(module, self._where)
        digest = _digest(module)
        config = json.dumps(_cncf_config(digest) if form == "cncf" else {}).encode()
        wasm, config_type = (WASM, WASM_CONFIG) if form == "cncf" else (WASM_TO_OCI, WASM_TO_OCI_CONFIG)
        # Without a title, `oras pull` has no name for the file and leaves it out.
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
            raise Invalid(f"{self.access.host} stored another manifest than it was sent, {stored[:80]!r}", self._where)
        return stored

    @cached_property
    def _client(self) -> OrasClient:
        from .oras_client import OrasClient

        return OrasClient(self.access, self.repository, self._where, self.retry, self._over)

    @property
    def _where(self) -> str:
        is_own = self.access.host in (self.reference.registry, DOCKER_HUB_HOST)
        return str(self.reference) if is_own else f"{self.reference} at {self.access.host}"

    def _manifest_url(self, name: str) -> str:
        return f"{self._client.prefix}://{self._client.container.manifest_url(name)}"

    def _fetch(self, descriptor: Descriptor, file: BinaryIO, on_progress: OnProgress) -> None:
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
                on_progress(done)
        if done < descriptor.size:
            what = f"{self.access.host} ended the layer after {done} of {descriptor.size} bytes; try again"
            raise Interrupted(what, self._where)
        if f"{checksum.name}:{checksum.hexdigest()}" != descriptor.digest:
            what = f"what {self.access.host} sends is not {descriptor.digest}; it is damaged or forged"
            raise Invalid(what, self._where)

    def _repeats(self, error: BaseException) -> int:
        """How often a blob is asked for again; requests that failed as such have been repeated already."""
        if isinstance(error, Interrupted):
            return self.retry.retries
        return min(1, self.retry.retries) if isinstance(error, Invalid) else 0  # damaged on the way, maybe

    def _expect_content(self, response: requests.Response) -> None:
        if response.status_code != 200:
            what = f"{self.access.host} answers {response.status_code} where content should be; check the registry"
            raise Invalid(what, self._where)

    def _pieces(self, response: requests.Response, limit: int, what: str) -> Iterator[bytes]:
        """The body as it is on the wire, as soon as it is there; one byte beyond `limit` is an error."""
        left = limit
        while True:
            try:
                # read() would wait until it has all that it was asked for.
                piece = response.raw.read1(min(_PIECE, left + 1), decode_content=False)
            except Exception:  # noqa: BLE001 - urllib3's, http.client's, ssl's, OSError: whichever, the body has ended
                if self._client.session.deadline.has_passed:
                    raise self._late() from None
                text = f"{self.access.host} stopped in the middle of {what}, {limit - left} bytes were there; try again"
                raise Interrupted(text, self._where) from None
            if not piece:
                break
            left -= len(piece)
            if left < 0:
                raise TooLarge(f"{self.access.host} sends more than {limit} bytes for {what}", self._where)
            yield piece
        if self._client.session.deadline.has_passed:  # a connection that was shut down looks like its end
            raise self._late()

    def _late(self) -> Unreachable:
        seconds = self._client.session.deadline.seconds
        return Unreachable(f"{self.access.host} took longer than the {seconds:g} s it has; try again", self._where)

    def _upload(self, data: bytes) -> None:
        client = self._client
        descriptor = {"digest": _digest(data), "size": len(data)}
        with tempfile.NamedTemporaryFile() as file:  # oras uploads what has a path
            file.write(data)
            file.flush()
            try:
                client.upload_blob(file.name, client.container, descriptor)
            except ValueError:  # oras: "Issue retrieving session url"
                raise Invalid(f"{self.access.host} names no place to upload to", self._where) from None


class Interrupted(Unreachable):
    """A body ended before its time; asking again may help."""


def _digest(data: bytes, like: str = "sha256:") -> str:
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def _check_module(data: bytes, where: str) -> None:
    if data.startswith(_COMPONENT):
        raise Invalid("this is a component (WASI preview 2); WAGI's modules are core modules (wasm32-wasip1)", where)
    if not data.startswith(_CORE):
        raise Invalid("this is not a WebAssembly module; text (.wat) has to be compiled first", where)


def _cncf_config(digest: str) -> dict[str, object]:
    # Without SOURCE_DATE_EPOCH the time is always the same: a module pushed twice is the same artefact.
    try:
        built = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH") or 0))
    except (ValueError, OverflowError, OSError):
        raise Invalid("SOURCE_DATE_EPOCH is not a number of seconds") from None
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", built)
    return {"created": created, "architecture": "wasm", "os": "wasip1", "layerDigests": [digest]}
