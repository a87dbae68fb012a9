"""`imagePullSecrets`: the credentials of a Pod, or of its service account, before those of the node."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...config.settings import RegistryConfig
from ...sources.oci.auth_key import normalised
from ...sources.oci.credentials import CredentialSource, FoundCredentials
from ...sources.oci.docker_config import DockerConfig, EntryWrong
from ..api import SERVICE_ACCOUNTS, Api, ApiError, Object
from .references import ReferenceMissing, References

_KEYS = (".dockerconfigjson", ".dockercfg")
"""The keys of Secrets of type `kubernetes.io/dockerconfigjson` and `kubernetes.io/dockercfg`."""
_MAX_SECRETS = 64


class PullSecrets(NamedTuple):
    """The credentials of one Pod."""

    configs: tuple[DockerConfig, ...]
    warnings: tuple[str, ...]
    """Secrets that do not exist or hold no credentials; a pull goes on without them, as a kubelet's does."""


async def read_pull_secrets(api: Api, pod: Object) -> PullSecrets:
    """The Pod's pull secrets, or those of its service account if the Pod names none. Raises ApiError."""
    namespace = pod["metadata"]["namespace"]
    named = pod["spec"].get("imagePullSecrets") or await _of_service_account(api, pod)
    references = References(api, namespace)
    configs: list[DockerConfig] = []
    warnings: list[str] = []
    for name in [one["name"] for one in named[:_MAX_SECRETS] if one.get("name")]:
        try:
            values = await references.secret(name)
            key = next((key for key in _KEYS if key in values), None)
            if key is None:
                raise ReferenceMissing(f'secret "{name}" has neither {" nor ".join(_KEYS)}')
            config = DockerConfig.parse(values[key], Path(f"secret/{name}/{key}"))
            # A Secret comes from any author of Pods: a credential helper would be a program that the node executes.
            configs.append(dataclasses.replace(config, helpers={}, store=None))
        except (ReferenceMissing, EntryWrong) as error:
            warnings.append(f"Unable to retrieve some image pull secrets ({name}): {error}")
    return PullSecrets(tuple(configs), tuple(warnings))


async def _of_service_account(api: Api, pod: Object) -> list[Object]:
    name = pod["spec"].get("serviceAccountName")
    if not name:
        return []
    try:
        account = await api.get(SERVICE_ACCOUNTS, name, pod["metadata"]["namespace"])
    except ApiError as error:
        if error.status in (403, 404):  # the admission of the API server copies them into the Pod
            return []
        raise
    return account.get("imagePullSecrets") or []


class PodCredentials(CredentialSource):
    """The credentials of a Pod's pull secrets, and then those of the node."""

    def __init__(
        self,
        secrets: PullSecrets,
        auth_files: Sequence[Path],
        registries: Mapping[str, RegistryConfig],
        base: Path,
    ) -> None:
        super().__init__(auth_files, os.environ, registries, base)
        self._secrets = secrets

    def find(self, registry: str, repository: str) -> FoundCredentials:
        """The credentials for a repository. Raises Unauthorised."""
        warnings: list[str] = []
        for config in self._secrets.configs:
            try:
                if credentials := config.find(normalised(registry), repository, _no_helper):
                    return FoundCredentials(credentials, (str(config.path),), tuple(warnings))
            except EntryWrong as error:
                warnings.append(f"{error}; it is not used")
        found = super().find(registry, repository)
        return dataclasses.replace(found, warnings=(*warnings, *found.warnings))


def _no_helper(_name: str, _server: str) -> None:
    """No helper is executed for a Pod."""
