"""Pulls modules from the store or from registries, and pushes them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ...config.image_reference import ImageReference
from ...config.settings import RegistryConfig
from ...config.values import PullPolicy
from .credentials import CredentialSource
from .endpoint import RegistryEndpoint
from .errors import ImageNotFound, Invalid, RegistryError, TooLarge, Unreachable
from .image import Image, fetch_module, find_image, verify_chain
from .manifest import MAX_MANIFEST, Manifest, parse_manifest
from .registries import Registries
from .repository import Form, Repository
from .retry import RetryPolicy
from .store import Store, StoredImage
from .upstream import Upstream, error_context

MAX_PULLS = 4
"""Concurrent pulls."""
OnProgress = Callable[[ImageReference, int, int], None]
"""Called with the reference, the received and the total bytes; from several threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """A pulled module."""

    reference: ImageReference
    path: Path
    """The module's path in the store."""
    data: bytes = field(repr=False)
    digest: str
    """SHA-256 of `data`, in lower-case hex."""
    manifest_digest: str
    """The digest that the reference resolves to: `sha256:…` of the manifest or index."""
    is_new: bool = False
    """Whether the module was downloaded by this pull."""
    is_stored: bool = True
    """Whether the store holds the module; a full or read-only store does not."""
    is_stale: bool = False
    """Whether no registry answered, so that the stored copy may differ from what the tag resolves to now."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspection:
    """A pulled module and its manifest."""

    pulled: Pulled
    manifest: Manifest


class Puller:
    """Pulls modules into a store and pushes them. Several threads may use one."""

    def __init__(
        self,
        store: Store,
        registries: Mapping[str, RegistryConfig],
        credentials: CredentialSource,
        base: Path,
        on_progress: OnProgress | None = None,
    ) -> None:
        """`base` is the base of relative paths in `registries`."""
        self._store = store
        self._cancelled = threading.Event()
        self._upstream = Upstream(Registries(registries, credentials, base), self._cancelled)
        self._on_progress = on_progress

    @property
    def warnings(self) -> list[str]:
        """Unusable files of credentials."""
        return self._upstream.warnings

    def pull(
        self, reference: ImageReference, policy: PullPolicy, max_size: int, *, asks_for_digests: bool = False
    ) -> Pulled:
        """Pulls a module of at most `max_size` bytes. Raises RegistryError with every failed attempt.

        `always` resolves the tag anew, and uses the stored copy if no registry answers; `if-not-present` contacts
        registries only for a module that the store does not have; `never` contacts none. A reference by digest that is
        stored needs no request, whatever the policy; with `asks_for_digests` and `always` the registry is asked all the
        same: who knows a digest need not have a right to the image.
        """
        warnings: list[str] = []
        copy = self._stored_copy(reference, max_size, warnings)
        if not copy and policy == "never":
            what = "; ".join(warnings) or f"it is not in the store {self._store.directory}"
            raise ImageNotFound(
                f'{what}, and the pull policy is "never"; `wagi-gateway pull {reference}` fetches it', str(reference)
            )
        if copy and (policy != "always" or (reference.digest and not asks_for_digests)):
            return copy
        try:
            pulled = self._pull_from_registry(reference, max_size, copy, warnings)
        except Unreachable as error:
            if not copy:
                raise
            warnings.append(f"{error.what}; the copy in the store is used")
            pulled = dataclasses.replace(copy, is_stale=True)
        return dataclasses.replace(pulled, warnings=tuple(warnings))

    def pull_all(
        self, wanted: Sequence[tuple[ImageReference, PullPolicy]], max_size: int
    ) -> list[Pulled | RegistryError]:
        """Pulls modules concurrently; returns a result or error for each, in order."""

        def pull_one(one: tuple[ImageReference, PullPolicy]) -> Pulled | RegistryError:
            try:
                return self.pull(*one, max_size)
            except RegistryError as error:
                return error

        different = list(dict.fromkeys(wanted))
        with ThreadPoolExecutor(MAX_PULLS, "pull") as threads:
            try:
                results = dict(zip(different, threads.map(pull_one, different), strict=True))
            except BaseException:  # Ctrl-C; the threads would finish their pulls
                self._cancelled.set()
                threads.shutdown(cancel_futures=True)
                raise
        return [results[one] for one in wanted]

    def inspect(self, reference: ImageReference, policy: PullPolicy, max_size: int) -> Inspection:
        """Pulls a module and finds its manifest. Raises RegistryError."""
        pulled = self.pull(reference, policy, max_size)
        image = self._store.find(pulled.manifest_digest)
        if image and (data := self._store.blob(image.manifest, MAX_MANIFEST)) is not None:
            manifest = parse_manifest(data, image.media_type)
            if isinstance(manifest, Manifest):
                return Inspection(pulled, manifest)
        pinned = reference.with_digest(pulled.manifest_digest)  # the store is full or read-only

        def fetch_manifest(endpoint: RegistryEndpoint, retry: RetryPolicy) -> Manifest:
            with Repository(pinned, endpoint, retry, self._cancelled) as repository:
                return find_image(repository, *repository.resolve(pinned.version)).manifest

        return Inspection(pulled, self._upstream.run(pinned, fetch_manifest, []))

    def push(
        self, module: bytes, name: str, reference: ImageReference, annotations: Mapping[str, str], form: Form = "cncf"
    ) -> str:
        """Pushes a module with `name` as its title; returns the manifest's digest. Raises RegistryError."""
        if reference.digest:
            raise Invalid("a push names a tag; the digest is what comes of it", str(reference))
        endpoint = self._upstream.origin(reference)
        with error_context(str(reference), endpoint), Repository(reference, endpoint) as repository:
            return repository.push_module(module, reference.version, annotations, form, name=name)

    def _stored_copy(self, reference: ImageReference, max_size: int, warnings: list[str]) -> Pulled | None:
        """The stored module of a reference, or None."""
        digest = reference.digest or self._store.tag(str(reference))
        return self._load_stored(reference, digest, max_size, warnings) if digest else None

    def _load_stored(self, reference: ImageReference, digest: str, max_size: int, warnings: list[str]) -> Pulled | None:
        image = self._store.find(digest)
        if not image:
            return None
        if image.size > max_size:
            raise TooLarge(f"the module has {image.size} bytes; {max_size} are allowed", str(reference))
        path = self._store.path(image.module)
        data = self._store.blob(image.module, image.size)
        if data is None:
            warnings.append(f"{path} is gone or was changed, so it is not used")
            return None
        documents = [self._store.blob(sha256, MAX_MANIFEST) for sha256 in (*image.indexes, image.manifest)]
        if not verify_chain(digest, [document for document in documents if document is not None], data):
            warnings.append(f"what leads from {digest} to {path} is gone or was changed, so it is not used")
            return None
        return Pulled(reference=reference, path=path, data=data, digest=image.module, manifest_digest=digest)

    def _pull_from_registry(
        self, reference: ImageReference, max_size: int, copy: Pulled | None, warnings: list[str]
    ) -> Pulled:
        """Pulls a module from a registry; stored parts are not downloaded."""

        def pull_from(endpoint: RegistryEndpoint, retry: RetryPolicy) -> Pulled:
            if copy and copy.manifest_digest == self._upstream.current_digest(reference, endpoint):
                return copy
            with Repository(reference, endpoint, retry, self._cancelled) as repository:
                digest, data, media_type = repository.resolve(reference.version)
                with self._store.lock(digest, self._check_cancelled):
                    # Another process may have pulled the module.
                    pulled = self._load_stored(reference, digest, max_size, [])
                    if not pulled:
                        image = find_image(repository, digest, data, media_type)
                        pulled = self._download(repository, reference, image, max_size, warnings)
            if not reference.digest and pulled.is_stored:
                with self._warn_if_unwritable(warnings):
                    self._store.remember(str(reference), digest)
            return pulled

        return self._upstream.run(reference, pull_from, warnings)

    def _download(
        self, repository: Repository, reference: ImageReference, image: Image, max_size: int, warnings: list[str]
    ) -> Pulled:
        def on_bytes(done: int, total: int) -> None:
            self._check_cancelled()
            if self._on_progress:
                self._on_progress(reference, done, total)

        module = fetch_module(repository, image, max_size, self._find_blob, on_bytes)
        stored = StoredImage(
            digest=image.digest,
            manifest=hashlib.sha256(image.data).hexdigest(),
            indexes=tuple(hashlib.sha256(index).hexdigest() for index in image.indexes),
            media_type=image.manifest.media_type,
            module=hashlib.sha256(module).hexdigest(),
            size=len(module),
            reference=str(reference),
            pulled=time.time(),
        )
        is_stored = False
        with self._warn_if_unwritable(warnings):
            self._store.keep(stored, module, (*image.indexes, image.data))
            is_stored = True
        return Pulled(
            reference=reference,
            path=self._store.path(stored.module),
            data=module,
            digest=stored.module,
            manifest_digest=image.digest,
            is_new=True,
            is_stored=is_stored,
        )

    def _check_cancelled(self) -> None:
        """Raises Unreachable after an interrupt."""
        if self._cancelled.is_set():
            raise Unreachable("it was given up")

    def _find_blob(self, digest: str, size: int) -> bytes | None:
        algorithm, _, value = digest.partition(":")
        return self._store.blob(value, size) if algorithm == "sha256" else None

    @contextlib.contextmanager
    def _warn_if_unwritable(self, warnings: list[str]) -> Iterator[None]:
        """Turns a failed write to the store into a warning: the server runs, and the next start pulls again."""
        try:
            yield
        except OSError as error:
            what = f"the store {self._store.directory} cannot be written ({error.strerror})"
            warnings.append(f"{what}; free space or choose another directory, until then every start asks the registry")
