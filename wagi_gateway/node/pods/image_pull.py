"""Pulls of a Pod's images: once for each, under the Pod's pull policy and with the Pod's credentials."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ...config.image_reference import ImageReference
from ...config.settings import RegistryConfig
from ...config.values import PullPolicy
from ...errors import GatewayError
from ...sources.directory import DirectoryRefused
from ...sources.oci.errors import ImageNotFound, RegistryError
from ...sources.oci.puller import Pulled, Puller
from ...sources.oci.store import Store
from ..api import Object
from .pull_places import PullPlaces
from .pull_secrets import PodCredentials, PullSecrets

_POLICIES: Mapping[str, PullPolicy] = {"Always": "always", "IfNotPresent": "if-not-present", "Never": "never"}


class ImagePullFailed(GatewayError):
    """An image was not pulled; `reason` is that of a waiting container."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PulledImage:
    """An image in the node's store."""

    pinned: str
    """`registry/repository@sha256:…`: the `imageID`, and the module of the gateway."""
    size: int
    seconds: float
    was_downloaded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAccess:
    """How the node reaches registries."""

    cache: Path
    """The cache directory, whose `registry` is the store."""
    registries: Mapping[str, RegistryConfig] = field(default_factory=dict)
    auth_files: Sequence[Path] = ()
    base: Path = Path("/")
    """The base of relative paths in `registries`."""
    max_module: int = 256 * 2**20
    """Bytes of a module; a larger one is not downloaded."""


def is_always(container: Object) -> bool:
    """Whether the registry is asked at each start of a container."""
    try:
        default = ImageReference.parse(container["image"]).default_policy()
    except ValueError:
        return False
    return _POLICIES.get(container.get("imagePullPolicy") or "", default) == "always"


class ImagePuller:
    """Pulls images of all Pods of the node, a few at the same time."""

    def __init__(self, access: RegistryAccess) -> None:
        self._access = access
        self._places = PullPlaces()

    async def pull(
        self, image: str, policy: str | None, secrets: PullSecrets, *, namespace: str = "default"
    ) -> PulledImage:
        """Pulls an image for a Pod of a namespace, under an `imagePullPolicy`; None is the default of Kubernetes.

        Raises ImagePullFailed.
        """
        try:
            reference = ImageReference.parse(image)
        except ValueError as error:
            raise ImagePullFailed("InvalidImageName", str(error)) from None
        started = time.monotonic()
        wanted = _POLICIES.get(policy or "", reference.default_policy())
        try:
            pulled = await self._places.run(namespace, partial(self._pull, reference, wanted, secrets))
        except RuntimeError as error:
            raise ImagePullFailed("ErrImagePull", str(error)) from None
        pinned = str(ImageReference(reference.registry, reference.repository, digest=pulled.manifest_digest))
        return PulledImage(pinned, len(pulled.data), time.monotonic() - started, pulled.is_new)

    def _pull(self, reference: ImageReference, policy: PullPolicy, secrets: PullSecrets) -> Pulled:
        access = self._access
        credentials = PodCredentials(secrets, access.auth_files, access.registries, access.base)
        try:
            puller = Puller(Store(access.cache / "registry"), access.registries, credentials, access.base)
            pulled = puller.pull(reference, policy, access.max_module, asks_for_digests=True)
        except DirectoryRefused as error:
            raise ImagePullFailed("ErrImagePull", f"the node's store cannot be used: {error}") from None
        except ImageNotFound as error:
            reason = "ErrImageNeverPull" if policy == "never" else "ErrImagePull"
            raise ImagePullFailed(reason, str(error)) from None
        except RegistryError as error:
            raise ImagePullFailed("ErrImagePull", str(error)) from None
        if pulled.is_stale:  # with Always the registry decides whether these credentials may have the image
            raise ImagePullFailed("ErrImagePull", "; ".join(pulled.warnings))
        if not pulled.is_stored:
            raise ImagePullFailed("ErrImagePull", "; ".join(pulled.warnings) or "the node's store is full")
        return pulled
