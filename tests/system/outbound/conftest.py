"""Fixtures of these tests."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from tests.conftest import Server, running
from tests.support.farm import Target, certified
from tests.system.foreign.conftest import toolchains
from tests.system.foreign.toolchains import SAMPLES, Toolchains, build_c

__all__ = ["Lab", "caller", "lab", "toolchains"]


@dataclass(frozen=True, slots=True)
class Lab:
    """A directory of a gateway, and servers that its guests call; all of them end with the tests of a file."""

    directory: Path
    cache: Path
    stack: ExitStack
    authority: trustme.CA = field(default_factory=trustme.CA)
    """The issuer of certificates that `outbound.ca_file = "ca.pem"` makes valid."""

    def target(self, certificate: trustme.LeafCert | None = None) -> Target:
        """A server, over TLS if it has a certificate."""
        return self.stack.enter_context(Target(tls=certified(certificate) if certificate else None))

    def refusing_url(self) -> str:
        """A URL whose port refuses connections: it is bound, and nothing listens on it."""
        bound = self.stack.enter_context(socket.socket())
        bound.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{bound.getsockname()[1]}"

    def serve(self, config: str, environment: dict[str, str] | None = None) -> Server:
        """A gateway with this `modules.toml`, which ends before the servers."""
        gateway = running(self.directory, config, cache=self.cache, environment=environment)
        return self.stack.enter_context(gateway)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Lab]:
    """The servers of the tests of one file."""
    with ExitStack() as stack:
        lab = Lab(tmp_path_factory.mktemp("lab"), cache, stack)
        lab.authority.cert_pem.write_to_path(str(lab.directory / "ca.pem"))
        yield lab


@pytest.fixture(scope="session")
def caller(tmp_path_factory: pytest.TempPathFactory, toolchains: Toolchains) -> Path:
    """The module of `caller.c`, a guest that reads its calls from standard input."""
    module = tmp_path_factory.mktemp("caller") / "caller.wasm"
    build_c("system/outbound/caller.c", module, toolchains, "-I", str(SAMPLES / "c"))
    return module
