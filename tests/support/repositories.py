"""Repositories with short timeouts, and modules to push."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.registry import PASSWORD, USERNAME, Registry
from wagi_gateway.config.image_reference import ImageReference
from wagi_gateway.sources.oci.endpoint import Credentials, RegistryEndpoint
from wagi_gateway.sources.oci.manifest import Descriptor, Manifest, module_layer, parse_manifest
from wagi_gateway.sources.oci.repository import Repository
from wagi_gateway.sources.oci.retry import RetryPolicy

USER = Credentials(username=USERNAME, password=PASSWORD)


def module(seed: int = 0, size: int = 5000) -> bytes:
    """A valid module with a custom section of `size` random bytes."""
    section = b"\x01x" + random.Random(seed).randbytes(size)
    length, rest = bytearray(), len(section)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return b"\0asm\1\0\0\0" + b"\0" + bytes(length) + bytes([rest]) + section


def repository(
    where: str | Registry,
    name: str = "team/hello:1",
    credentials: Credentials | None = None,
    *,
    ca_file: Path | None = None,
    is_plain: bool | None = None,
    **options: Any,
) -> Repository:
    """A repository at an address, over plain HTTP without a `ca_file`; `options` are fields of `RetryPolicy`."""
    address = where if isinstance(where, str) else where.address
    if isinstance(where, Registry):
        ca_file = ca_file or where.ca_file
    is_plain = ca_file is None if is_plain is None else is_plain
    reference = ImageReference.parse(f"{address}/{name}")
    access = RegistryEndpoint(address, is_plain, ca_file, credentials)
    return Repository(reference, access, RetryPolicy(**{"backoff": 0.01, "stall_time": 10.0, **options}))


def layer_of(repository: Repository) -> Descriptor:
    """The layer that holds the module of the repository's reference."""
    _, data, media_type = repository.resolve(repository.reference.version)
    manifest = parse_manifest(data, media_type)
    assert isinstance(manifest, Manifest)
    return module_layer(manifest)[0]


def fetched(repository: Repository, layer: Descriptor, **options: Any) -> bytes:
    """Downloads a blob."""
    file = io.BytesIO()
    try:
        repository.fetch_blob(layer, file, **options)
    except BaseException:
        assert not file.getvalue()
        raise
    return file.getvalue()


def pulled(repository: Repository) -> bytes:
    """Downloads the module of an artefact."""
    return fetched(repository, layer_of(repository))


@pytest.fixture
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with passwords for loopback that must never be sent, and an environment without proxies."""
    home = tmp_path_factory.mktemp("home")
    netrc = home / ".netrc"
    netrc.write_text("machine 127.0.0.1 login netrc password NETRC\nmachine localhost login netrc password NETRC\n")
    netrc.chmod(0o600)
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text('{"auths": {"127.0.0.1": {"auth": "eDpET0NLRVI="}}}')
    monkeypatch.setenv("HOME", str(home))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for scheme in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)
    return home
