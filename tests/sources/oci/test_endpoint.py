"""Endpoints: credentials are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.sources.oci.endpoint import Credentials, RegistryEndpoint

SECRET = "s3cr3t"  # what no text may hold


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials("user", SECRET),
        Credentials(identity_token=SECRET),
        Credentials(registry_token=SECRET),
    ],
    ids=["password", "identity token", "registry token"],
)
def test_credentials_are_never_shown(credentials: Credentials) -> None:
    access = RegistryEndpoint("ghcr.io", credentials=credentials, searched=("/home/me/auth.json",))
    assert SECRET not in f"{credentials!r} {credentials} {access!r} {access} {access.explanation}"
    assert access.explanation == "the credentials were those of /home/me/auth.json"


def test_without_credentials_the_places_are_named() -> None:
    access = RegistryEndpoint(
        "ghcr.io", ca_file=Path("ca.pem"), searched=("/a (not there)", "/b (nothing for ghcr.io)")
    )
    places = "/a (not there), /b (nothing for ghcr.io)"
    assert access.explanation == f"there are no credentials for ghcr.io; looked in {places}"
