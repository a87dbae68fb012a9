"""Fixtures: registries shared by a test file, and a user with an empty home directory."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from wagi_gateway.config.image_reference import ImageReference
from wagi_gateway.config.settings import RegistryConfig
from wagi_gateway.config.values import PullPolicy
from wagi_gateway.sources.oci.credentials import CredentialSource
from wagi_gateway.sources.oci.puller import OnProgress, Pulled, Puller
from wagi_gateway.sources.oci.store import Store

MAX_SIZE = 1 << 20
_names = count()


def module(text: str = "", size: int = 0) -> bytes:
    """A valid module without functions, distinct for each text, of at least `size` bytes."""
    content = (b"\x04" + b"note" + text.encode()).ljust(size, b".")
    length = len(content)
    leb128 = bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14 & 0x7F])
    return b"\0asm\1\0\0\0" + b"\0" + leb128 + content


def refused_address() -> str:
    """An address that refuses connections."""
    import socket

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{closed.getsockname()[1]}"


@dataclass
class User:
    """A user with an empty home directory, an empty store and a repository."""

    home: Path
    repository: str
    tables: dict[str, RegistryConfig] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environ = {"HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home), "PATH": os.defpath} | self.environ

    @property
    def store(self) -> Store:
        """The user's store."""
        return Store(self.home / "store")

    def puller(self, on_progress: OnProgress | None = None, **tables: RegistryConfig) -> Puller:
        """A new puller, as in a new process."""
        credentials = CredentialSource([], self.environ, self.tables | tables, self.home)
        return Puller(self.store, self.tables | tables, credentials, self.home, on_progress)

    def reference(self, address: str, version: str = ":1") -> ImageReference:
        """The user's repository at a registry."""
        return ImageReference.parse(f"{address}/{self.repository}{version}")

    def push(self, address: str, data: bytes, version: str = ":1", **annotations: str) -> str:
        """Pushes a module; returns the manifest's digest."""
        return self.puller().push(data, "pushed.wasm", self.reference(address, version), annotations)

    def pull(self, address: str, policy: PullPolicy = "if-not-present", version: str = ":1") -> Pulled:
        """Pulls with a new puller."""
        return self.puller().pull(self.reference(address, version), policy, MAX_SIZE)

    def files(self) -> set[str]:
        """The store's files, without locks."""
        found = (path for path in (self.home / "store").rglob("*") if path.is_file() and path.suffix != ".lock")
        return {str(path.relative_to(self.home / "store")) for path in found}


@pytest.fixture
def user(tmp_path: Path) -> User:
    """A user with a repository that no other test uses."""
    return User(tmp_path, f"team/hello-{next(_names)}")
