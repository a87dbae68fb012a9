"""The certificate of the node's API: from files, from the cluster's signer, or self-signed; and its renewal."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..config.settings import ServerConfig
from ..errors import Problem, StartupError
from ..observe.log import logger
from ..tls import Certificate
from ..tls import read as read_files
from .api import MALFORMED, Api, ApiError, ApiUnreachable, described
from .bootstrap import pause_if_due, sleep_until
from .options import NodeOptions
from .server.tls import accept_client_certificates
from .signing import SERVING_SIGNER, Names, NotSigned, Validity, names_of, requested, self_signed, store

RETRY = 60.0
"""Seconds between two attempts, and between two looks at the files."""
RETRY_DENIED = 3600.0
"""Seconds until the next request after one that was denied."""


class ServingCertificate:
    """The certificate of the node's API, with the SSL context that new connections use."""

    def __init__(
        self,
        options: NodeOptions,
        addresses: tuple[str, ...],
        *,
        is_node: bool,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Reads the files of the options, or else the certificate of the last run unless it is not of use any more.

        Raises StartupError and OSError.
        """
        self._options = options
        self._names = Names(options.name, addresses)
        self._sleep = sleep
        source = options.serving_certificate
        self._is_requested = not options.tls_cert and (source == "requested" or (source == "auto" and is_node))
        self._path = options.state_directory / "serving.pem"
        kept = self._kept() if self._is_requested else None
        self._is_signed = kept is not None
        self._pem = _from_files(options) if options.tls_cert else kept or self_signed(self._names)
        self._certificate = Certificate(self._pem)

    @property
    def context(self) -> ssl.SSLContext:
        """The context of the server."""
        return self._certificate.context

    def trust(self, authorities: str) -> ssl.SSLContext:
        """Another context, which accepts client certificates of these authorities (PEM) alone; none if it is empty.

        Raises StartupError.
        """
        certificate = Certificate(self._pem)
        if authorities:
            accept_client_certificates(certificate.context, authorities)
        self._certificate = certificate
        return certificate.context

    async def keep(self, api: Api) -> None:
        """Has the certificate renewed in time until it is cancelled; errors are tried again."""
        while True:
            if self._options.tls_cert:
                await self._sleep(RETRY)
                self._reread()
            elif self._is_requested:
                await self._request(api)
            else:
                await sleep_until(Validity.of(self._pem).renewal(), self._sleep)
                self._use(self_signed(self._names))

    async def _request(self, api: Api) -> None:
        """Waits until a renewal is due, and has the cluster sign a certificate; a self-signed one serves until then."""
        if self._is_signed:
            await sleep_until(Validity.of(self._pem).renewal(), self._sleep)
        try:
            self._use(await requested(api, SERVING_SIGNER, self._names))
            self._is_signed = True
            await pause_if_due(self._pem, self._sleep)
        except (ApiError, ApiUnreachable, NotSigned, *MALFORMED) as error:
            logger.warning("the certificate of the node's API is not renewed: %s", described(error))
            await self._sleep(RETRY_DENIED if isinstance(error, NotSigned) else RETRY)

    def _use(self, pem: bytes) -> None:
        self._pem = pem
        self._certificate.renew(pem)
        if self._is_requested:
            try:
                store(self._path, pem)
            except OSError as error:
                logger.warning("%s: the certificate cannot be kept for the next start: %s", self._path, error.strerror)

    def _kept(self) -> bytes | None:
        """The certificate that the cluster signed for an earlier run, if it is still valid and for these names."""
        try:
            pem = self._path.read_bytes()
            if Validity.of(pem).is_over or names_of(pem) != self._names:
                return None
            Certificate(pem)
        except (OSError, ValueError):  # an SSLError is an OSError
            return None
        return pem

    def _reread(self) -> None:
        """Takes the files of the options again if they have changed; a mistake in them is a warning."""
        try:
            pem = _from_files(self._options)
        except StartupError as error:
            logger.warning("the certificate of the node's API is not renewed: %s", error)
            return
        if pem != self._pem:
            self._use(pem)
            logger.info("the certificate of the node's API has been read anew")


def _from_files(options: NodeOptions) -> bytes:
    settings = ServerConfig(tls_cert=str(options.tls_cert), tls_key=str(options.tls_key) if options.tls_key else None)
    try:
        return read_files(settings, Path.cwd())
    except StartupError as error:
        raise StartupError(*(Problem("", one.what.replace("server.", "")) for one in error.problems)) from None
