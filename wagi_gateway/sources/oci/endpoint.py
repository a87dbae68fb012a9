"""The endpoint of a registry: address, TLS and credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials for one registry: user name and password, or one of two kinds of token. Hidden from `repr`."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """An OAuth 2 refresh token, exchanged for an access token at the registry's token server."""
    registry_token: str = field(default="", repr=False)
    """A bearer token, sent unchanged."""

    @property
    def is_basic(self) -> bool:
        """Whether the credentials are a user name and password (RFC 7617)."""
        return bool(self.username or self.password) and not (self.identity_token or self.registry_token)


@dataclass(frozen=True, slots=True)
class RegistryEndpoint:
    """Where and how a repository is reached: a registry or its mirror."""

    host: str
    """`host[:port]` to connect to: `registry-1.docker.io` for docker.io."""
    is_plain: bool = False
    """Whether the endpoint speaks plain HTTP."""
    ca_file: Path | None = None
    """Certificate authorities besides the system's (PEM)."""
    credentials: Credentials | None = None
    prefix: str = ""
    """The path before the repository's name at a mirror: `"prefix"` for `prefix/library/hello`, without slashes at its
    ends."""
    searched: tuple[str, ...] = ()
    """The place that the credentials come from; without credentials, every place that was searched, and why it has
    none."""

    @property
    def explanation(self) -> str:
        """Where the credentials come from, for an error about a refused login; never the credentials themselves."""
        if self.credentials:
            return f"the credentials were those of {', '.join(self.searched)}"
        return f"there are no credentials for {self.host}; looked in {', '.join(self.searched) or 'no place'}"
