"""The credentials for the API server: a kubeconfig and the files that it names, which others may renew."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from lightkube.config.kubeconfig import SingleConfig

from ..errors import StartupError
from ..observe.log import logger
from .api import Api, ApiUnreachable
from .signing import Validity

REFRESH = 60.0
"""Seconds between two reads of the files."""


class ReloadableApi(Api, Protocol):
    """An API whose later requests can have other credentials."""

    async def reload(self, config: SingleConfig) -> None:
        """Takes another configuration. Raises ApiUnreachable for an invalid one, and keeps the earlier one then."""


class _Content(NamedTuple):
    config: SingleConfig
    authority: bytes | None
    certificate: bytes | None
    key: bytes | None


class ApiCredentials:
    """The credentials of an API's client, which are read again when their files change.

    The token of a ServiceAccount is not among them: lightkube reads its file again after a refusal (401).
    """

    def __init__(self, api: ReloadableApi, read: Callable[[], SingleConfig]) -> None:
        """`read` reads the kubeconfig; it raises StartupError."""
        self._api = api
        self._read = read
        self._content = _content(read())
        self._expired: bytes | None = None
        """The certificate whose expiry has been logged."""
        self._check_expiry()

    @property
    def authority(self) -> bytes | None:
        """The certificate authorities (PEM) of the API server, if the configuration names them."""
        return self._content.authority

    async def keep(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Reads the files again and again until it is cancelled."""
        while True:
            await sleep(REFRESH)
            await self.refresh()

    async def refresh(self) -> None:
        """Reads the files, and takes what has changed. A mistake in them is a warning: they may be half-written."""
        try:
            content = _content(self._read())
            if content != self._content:
                await self._api.reload(content.config)
                self._content = content
                logger.info("the credentials for the API server have been read anew")
        except (StartupError, ApiUnreachable) as error:
            logger.warning("the credentials for the API server are not read anew: %s", error)
        self._check_expiry()

    def _check_expiry(self) -> None:
        """Says once that the client certificate has expired: requests fail with 401 from then on, without a reason."""
        pem = self._content.certificate
        if pem is None or pem == self._expired:
            return
        with contextlib.suppress(ValueError):  # what is no certificate has been refused
            validity = Validity.of(pem)
            if validity.is_over:
                self._expired = pem
                what = "the client certificate of the kubeconfig expired at %s; renew it: the node reads it each minute"
                logger.error(what, f"{validity.end:%Y-%m-%d %H:%M:%SZ}")


def authority(config: SingleConfig) -> bytes | None:
    """The certificate authorities (PEM) of the API server, if the kubeconfig names them."""
    cluster = config.cluster
    return _bytes(config, cluster.certificate_auth_data, cluster.certificate_auth)


def certificate(config: SingleConfig) -> bytes | None:
    """The client certificate (PEM) of a kubeconfig's user, if there is one."""
    user = config.user
    return _bytes(config, user.client_cert_data, user.client_cert) if user else None


def _content(config: SingleConfig) -> _Content:
    user = config.user
    key = _bytes(config, user.client_key_data, user.client_key) if user else None
    return _Content(config, authority(config), certificate(config), key)


def _bytes(config: SingleConfig, data: str | None, path: str | None) -> bytes | None:
    """What a kubeconfig holds itself, or else names."""
    with contextlib.suppress(ValueError, OSError):
        if data:
            return base64.b64decode(data)
        if path:
            return Path(config.abs_file(path)).read_bytes()
    return None
