"""Errors of pulling from and pushing to registries.

    RegistryError
    ├── Unreachable     no usable answer: refused, timed out, TLS failed, or 429 and 5xx after all retries
    ├── Unauthorised    401 after the login, 403, or no way to log in
    ├── ImageNotFound   404: no such repository, tag or digest
    ├── Invalid         the answer does not match its digest, or holds no module
    └── TooLarge        more bytes than a bound allows

The message names registry, repository and tag or digest, and says what to do. It never holds a credential, a query
string (the URL of a redirected blob holds a signature) or the message of another library's exception (which may hold
either).
"""

from __future__ import annotations

from typing import Self

from ...errors import GatewayError, redact


class RegistryError(GatewayError):
    """`what` is wrong; `where` is the image, `ghcr.io/team/hello:1`, once it is known. No secret of a URL is in it,
    be the URL a registry's or one in a file of credentials."""

    def __init__(self, what: str, where: str = "") -> None:
        self.what, self.where = redact(what), redact(where)
        super().__init__(f"{self.where}: {self.what}" if where else self.what)

    def at(self, where: str) -> Self:
        """Returns the error with `where` added, unless it has one."""
        return self if self.where else type(self)(self.what, where)


class Unreachable(RegistryError):
    """No usable answer; a stored copy may be used instead."""


class Unauthorised(RegistryError):
    """The registry denies access with these credentials, or without any."""


class ImageNotFound(RegistryError):
    """No such repository, tag or digest, or none that these credentials may see."""


class Invalid(RegistryError):
    """The answer is damaged or forged, or holds no module."""


class TooLarge(RegistryError):
    """More bytes than a bound allows."""
