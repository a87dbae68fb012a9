"""How a registry is reached: its address, its trust and who we are there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are at one registry: a user with a password, or one of two kinds of token. Never shown."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """Exchanged for an access token at the registry's token server (OAuth 2 `refresh_token`)."""
    registry_token: str = field(default="", repr=False)
    """Sent as it is, as a bearer token."""


@dataclass(frozen=True, slots=True)
class RegistryEndpoint:
    """One way to one registry."""

    host: str
    """`host[:port]` to connect to: `registry-1.docker.io` for docker.io."""
    is_plain: bool = False
    """Whether it speaks plain HTTP."""
    ca_file: Path | None = None
    """Certificate authorities trusted besides the system's (PEM)."""
    credentials: Credentials | None = None
    prefix: str = ""
    """What stands before the repository's name at a mirror: `"prefix"` for `prefix/library/hello`, without slashes at
    its ends."""
    searched: tuple[str, ...] = ()
    """Where the credentials come from; without any, every place that has none, and why."""

    @property
    def explanation(self) -> str:
        """Whose credentials were used, for an error of a registry that did not like them; never what they are."""
        if self.credentials:
            return f"the credentials were those of {', '.join(self.searched)}"
        return f"there are no credentials for {self.host}; looked in {', '.join(self.searched) or 'no place'}"
