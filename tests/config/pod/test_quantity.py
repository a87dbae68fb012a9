"""Kubernetes quantities as bytes."""

from __future__ import annotations

import pytest

from wagi_gateway.config.pod.quantity import parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("129E6", 129_000_000),
        ("129M", 129_000_000),
        ("128974848000m", 128974848),
        ("123Mi", 123 * 2**20),
        ("1.5Gi", 3 * 2**29),
        (".5k", 500),
        ("1.", 1),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("1m", 1),
        ("1500m", 2),
        ("1e-3", 1),
        ("+1Ki", 1024),
        ("0", 0),
    ],
)
def test_quantity(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "Mi", "1MB", "1mi", "1K", "-1", "1 Mi", "1Mi1", "1e9999999", "1ee1", "٣", "9" * 65]
)
def test_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        parse_bytes(text)
