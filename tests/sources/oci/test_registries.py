"""The endpoints of an image: mirror, plain HTTP, certificate authorities."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.config.image_reference import ImageReference
from wagi_gateway.config.settings import RegistryConfig
from wagi_gateway.sources.oci.credentials import CredentialSource
from wagi_gateway.sources.oci.endpoint import Credentials, RegistryEndpoint
from wagi_gateway.sources.oci.errors import RegistryError
from wagi_gateway.sources.oci.registries import Registries


def endpoints(tmp_path: Path, name: str, tables: dict[str, RegistryConfig] | None = None) -> list[RegistryEndpoint]:
    """The endpoints of an image, for a user with an empty home directory."""
    credentials = CredentialSource([], {"HOME": str(tmp_path), "PASSWORD": "p"}, tables or {}, tmp_path)
    return Registries(tables or {}, credentials, tmp_path).endpoints(ImageReference.parse(name))


PLAIN = {
    "localhost": ("localhost:5000/a", {}, True),
    "a name under localhost": ("registry.localhost/a", {}, True),
    "127.0.0.1": ("127.0.0.1:5000/a", {}, True),
    "all of 127/8": ("127.9.9.9:5000/a", {}, True),
    "::1": ("[::1]:5000/a", {}, True),
    "a private address": ("10.0.0.1:5000/a", {}, False),
    "a name": ("ghcr.io/a", {}, False),
    "a name that begins alike": ("localhost.example.com/a", {}, False),
    "loopback with a CA": ("localhost:5000/a", {"ca_file": "ca.pem"}, False),
    "loopback that is said to be secure": ("localhost:5000/a", {"insecure": False}, False),
    "insecure": ("ghcr.io/a", {"insecure": True}, True),
}


@pytest.mark.parametrize(("name", "table", "is_plain"), PLAIN.values(), ids=PLAIN)
def test_registries_over_plain_http(tmp_path: Path, name: str, table: dict[str, object], is_plain: bool) -> None:
    (tmp_path / "ca.pem").write_text("")
    config = RegistryConfig.model_validate(table)
    (access,) = endpoints(tmp_path, name, {ImageReference.parse(name).registry: config})
    assert access.is_plain == is_plain
    assert access.ca_file == (tmp_path / "ca.pem" if "ca_file" in table else None)


def test_docker_hub_is_reached_at_its_registry(tmp_path: Path) -> None:
    (access,) = endpoints(tmp_path, "hello")
    assert (access.host, access.is_plain, access.prefix) == ("registry-1.docker.io", False, "")


MIRRORS = {
    "host": ("mirror.example.com", "mirror.example.com", ""),
    "port": ("localhost:5000", "localhost:5000", ""),
    "prefix": ("mirror.example.com/hub/a", "mirror.example.com", "hub/a"),
    "slash at its end": ("mirror.example.com/hub/", "mirror.example.com", "hub"),
}


@pytest.mark.parametrize(("mirror", "host", "prefix"), MIRRORS.values(), ids=MIRRORS)
def test_a_mirror_comes_first(tmp_path: Path, mirror: str, host: str, prefix: str) -> None:
    tables = {
        "docker.io": RegistryConfig(mirror=mirror),
        host: RegistryConfig(username="user", password_env="PASSWORD", insecure=True),
    }
    first, second = endpoints(tmp_path, "hello", tables)
    assert (first.host, first.prefix, first.is_plain) == (host, prefix, True)
    assert first.credentials == Credentials("user", "p")
    assert (second.host, second.prefix, second.credentials) == ("registry-1.docker.io", "", None)


def test_a_ca_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=rf'ca_file = "ca\.pem": there is no file {tmp_path}/ca\.pem'):
        endpoints(tmp_path, "ghcr.io/a", {"ghcr.io": RegistryConfig(ca_file="ca.pem")})


def test_warnings_about_files_are_collected_once(tmp_path: Path) -> None:
    (tmp_path / ".dockercfg").write_text("x")
    registries = Registries({}, CredentialSource([], {"HOME": str(tmp_path)}, {}, tmp_path), tmp_path)
    for name in ("ghcr.io/a", "ghcr.io/b"):
        registries.endpoints(ImageReference.parse(name))
    assert registries.warnings == [f"{tmp_path}/.dockercfg is not a JSON object; it is not used"]
