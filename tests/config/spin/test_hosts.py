"""Spin's allowed hosts as allowed_hosts."""

from __future__ import annotations

import pytest

from wagi_gateway.config.spin.hosts import convert_hosts


@pytest.mark.parametrize(
    ("host", "entries"),
    [
        ("https://api.example.com", ["https://api.example.com"]),
        ("http://localhost:3000", ["http://localhost:3000"]),
        ("api.example.com", ["api.example.com"]),
        ("api.example.com:8080", ["api.example.com:8080"]),
        ("*://api.example.com", ["api.example.com"]),
        ("*://api.example.com:8080", ["api.example.com:8080"]),
        ("http://[::1]:80", ["http://[::1]:80"]),
        (
            "https://a.example:8000..8003",
            ["https://a.example:8000", "https://a.example:8001", "https://a.example:8002"],
        ),
        ("https://{{ api }}:{{port}}", ["https://api.example.com:81"]),
    ],
)
def test_a_host(host: str, entries: list[str]) -> None:
    assert convert_hosts([host, host], {"api": "api.example.com", "port": "81"}) == (entries, [])


@pytest.mark.parametrize("host", ["insecure:allow-all", "*://*:*", "*://*", "https://*.example.com"])
def test_what_reaches_public_addresses_alone(host: str) -> None:
    found = convert_hosts([host], {})
    assert found.entries == [host if "example" in host else "insecure:allow-all"]
    assert found.doubts == [f'"{host}" reaches public addresses alone; set allow_private_networks for others']


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("redis://cache:6379", "a guest can call http and https alone"),
        ("https://*", "it permits every host; write"),
        ("http://self", "it is the application itself"),
        ("http://other.spin.internal", "it is the application itself"),
        ("http://10.0.0.0/8", "a network is no host"),
        ("https://a.example:*", 'list its ports one by one in place of "*"'),
        ("https://a.example:1..60000", "list its ports one by one"),
        ("https://{{ unknown }}", "write its value into allowed_hosts"),
        ("https://{{ secret }}", "write its value into allowed_hosts"),
        ("https://a b", "not an entry of allowed_hosts"),
        ("https://a.example:70000", "70000 is no port"),
        ("", "not an entry of allowed_hosts"),
    ],
)
def test_what_has_no_equivalent(host: str, reason: str) -> None:
    entries, (doubt,) = convert_hosts([host], {"secret": None})
    assert entries == []
    assert doubt.startswith(f'"{host}" is left out: {reason}')
