"""The `[registries]` tables: the endpoints of an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ...config.image_reference import DOCKER_HUB, DOCKER_HUB_HOST, ImageReference
from ...config.settings import RegistryConfig
from .auth_key import normalised
from .credentials import CredentialSource
from .endpoint import RegistryEndpoint
from .errors import RegistryError
from .origin import is_loopback


class Registries:
    """Finds the endpoints of images, with TLS settings and credentials."""

    def __init__(self, tables: Mapping[str, RegistryConfig], credentials: CredentialSource, base: Path) -> None:
        self._tables = {normalised(host): table for host, table in tables.items()}
        self._credentials = credentials
        self._base = base
        self.warnings: list[str] = []
        """Unusable files of credentials."""

    def endpoints(self, reference: ImageReference) -> list[RegistryEndpoint]:
        """The mirror, if one is set, then the registry itself. Raises RegistryError."""
        table = self._tables.get(normalised(reference.registry), RegistryConfig())
        origin = self.origin(reference)
        if not table.mirror:
            return [origin]
        host, _, prefix = table.mirror.rstrip("/").partition("/")
        return [self._endpoint(host, reference.repository, prefix), origin]

    def origin(self, reference: ImageReference) -> RegistryEndpoint:
        """The registry itself. Raises RegistryError."""
        return self._endpoint(reference.registry, reference.repository, "")

    def _endpoint(self, host: str, repository: str, prefix: str) -> RegistryEndpoint:
        registry = normalised(host)
        table = self._tables.get(registry, RegistryConfig())
        ca_file = self._base / table.ca_file if table.ca_file else None
        if ca_file and not ca_file.is_file():
            raise RegistryError(f'[registries."{registry}"]: ca_file = "{table.ca_file}": there is no file {ca_file}')
        found = self._credentials.find(registry, f"{prefix}/{repository}" if prefix else repository)
        self.warnings += [text for text in found.warnings if text not in self.warnings]
        is_plain = (
            is_loopback(urlsplit(f"//{registry}").hostname or "") and not ca_file
            if table.insecure is None
            else table.insecure
        )
        contact = DOCKER_HUB_HOST if registry == DOCKER_HUB else registry
        return RegistryEndpoint(
            host=contact,
            is_plain=is_plain,
            ca_file=ca_file,
            credentials=found.credentials,
            prefix=prefix,
            searched=found.searched,
        )
