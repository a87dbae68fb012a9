"""Errors of registries: the message, and the image's name."""

from __future__ import annotations

import pytest

from wagi_gateway.errors import GatewayError
from wagi_gateway.sources.oci.errors import (
    ImageNotFound,
    Invalid,
    RegistryError,
    TooLarge,
    Unauthorised,
    Unreachable,
)


@pytest.mark.parametrize("kind", [RegistryError, Unreachable, Unauthorised, ImageNotFound, Invalid, TooLarge])
def test_where_is_added_once(kind: type[RegistryError]) -> None:
    error = kind("went wrong")
    assert str(error) == "went wrong"
    placed = error.at("ghcr.io/team/hello:1")
    assert type(placed) is kind
    assert isinstance(placed, GatewayError)
    assert str(placed) == "ghcr.io/team/hello:1: went wrong"
    assert placed.at("elsewhere") is placed
    assert placed.what == "went wrong"


def test_a_message_shows_no_secret_of_a_url() -> None:
    signed = "https://ann:pw@storage.example/x?X-Signature=s3cr3t"
    error = Invalid(f"it answers {signed}").at("ghcr.io/team/hello@sha256:00")
    assert str(error) == "ghcr.io/team/hello@sha256:00: it answers https://…@storage.example/x?…"
    assert error.what == "it answers https://…@storage.example/x?…"
