"""The keys of Docker's configuration."""

from __future__ import annotations

import pytest

from wagi_gateway.sources.oci.auth_key import HUB_KEY, matching_keys, normalised

KEYS = {
    "a port": ("*.example.com", "r.example.com:5000", False),
    "a port for both": ("*.example.com:5000", "r.example.com:5000", True),
    "another port": ("*.example.com:5000", "r.example.com:5001", False),
    "the domain itself": ("*.example.com", "example.com", False),
    "two labels": ("*.example.com", "a.b.example.com", False),
    "a part of a label": ("r*.example.com", "r1.example.com", True),
    "one character": ("r?.example.com", "r1.example.com", True),
    "characters": ("r?.[a-e]xample.com", "r1.example.com", True),
    "two wildcards": ("*.*.com", "r.example.com", True),
    "upper case": ("*.EXAMPLE.com", "r.example.com", True),
    "scheme": ("https://*.example.com", "r.example.com", True),
    "scheme and version": ("https://*.example.com/v1/", "r.example.com", True),
    "a path": ("*.example.com/team", "r.example.com", True),
    "another path": ("*.example.com/other", "r.example.com", False),
    "every host of one label": ("*", "r.example.com", False),
    "a suffix": ("*.example.com", "r.example.com.evil.example", False),
    "an IPv6 address": ("[::1]:5000", "[::1]:5000", True),
}


@pytest.mark.parametrize(("key", "registry", "matches"), KEYS.values(), ids=KEYS)
def test_patterns(key: str, registry: str, matches: bool) -> None:
    assert list(matching_keys([key], registry, "team/hello")) == [key] * matches


def test_the_order() -> None:
    ordered = [
        "r.example.com/team/hello",
        "https://r.example.com/team",
        "r.example.com",
        "https://r.example.com/v2/",
        "https://r.example.com/other",
        "*.example.com/team",
        "r*.example.com",
        "*.example.com",
    ]
    assert list(matching_keys(reversed(ordered), "r.example.com", "team/hello")) == ordered


def test_docker_hub_has_many_names() -> None:
    keys = ["docker.io", HUB_KEY, "index.docker.io", "https://registry-1.docker.io/v2/"]
    assert set(matching_keys(keys, "docker.io", "library/hello")) == set(keys)
    assert {normalised(key) for key in ("docker.io", "INDEX.docker.io", "registry-1.docker.io")} == {"docker.io"}
    assert list(matching_keys([f"{HUB_KEY}access-token", f"{HUB_KEY}refresh-token"], "docker.io", "x")) == []
