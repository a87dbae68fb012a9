"""Why a module does not come from a registry, or does not go there.

    RegistryError
    ├── Unreachable     no usable answer: refused, timed out, TLS failed, or 429 and 5xx until patience ended
    ├── Unauthorised    401 after logging in, 403, or no way to log in
    ├── NotFound        404: there is no such repository, tag or digest
    ├── Invalid         the answer is not what its digest says, or nothing a module can be taken from
    └── TooLarge        more bytes than allowed

The text names registry, repository and tag or digest, and says what to do. It never holds a credential, a query string
(a redirected blob's URL carries a signature there) or the text of a foreign exception (which may hold either).
"""

from __future__ import annotations

from typing import Self

from ...errors import GatewayError


class RegistryError(GatewayError):
    """What is wrong, and `where`, once that is known: `ghcr.io/team/hello:1`."""

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.what = what
        self.where = where

    def at(self, where: str) -> Self:
        """The same error about `where`, unless it knows its place already."""
        return self if self.where else type(self)(self.what, where)


class Unreachable(RegistryError):
    """No usable answer; a copy that is already here may serve."""


class Unauthorised(RegistryError):
    """The registry does not let us, with the credentials there are."""


class ImageNotFound(RegistryError):
    """There is no such repository, tag or digest, or it is hidden from us."""


class Invalid(RegistryError):
    """The answer is damaged, forged, or nothing a module can be taken from."""


class TooLarge(RegistryError):
    """More bytes than allowed."""
