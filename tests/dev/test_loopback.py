"""What `dev` refuses to start with."""

from __future__ import annotations

import pytest

from wagi_gateway.config.settings import ServerConfig
from wagi_gateway.dev.loopback import refusals

INSPECTOR = "127.0.0.1:3001"


@pytest.mark.parametrize(
    ("server", "inspector", "environment", "words"),
    [
        ({"listen": "0.0.0.0:3000"}, INSPECTOR, {}, "server.listen = 0.0.0.0:3000"),
        ({"listen": ":3000"}, INSPECTOR, {}, "loopback"),
        ({"listen": "192.0.2.1:3000"}, INSPECTOR, {}, "loopback"),
        ({"listen": "[::]:3000"}, INSPECTOR, {}, "loopback"),
        ({"listen": "unix:/run/x"}, INSPECTOR, {}, "unix:/run/x"),
        ({"listen": "fd:3"}, INSPECTOR, {}, "fd:3"),
        ({}, "0.0.0.0:3001", {}, "--inspector"),
        ({}, "unix:/run/x", {}, "--inspector"),
        ({}, "3001", {}, "not HOST:PORT"),
        ({"workers": 2}, INSPECTOR, {}, "server.workers"),
        ({"trusted_proxies": ["10.0.0.0/8"]}, INSPECTOR, {}, "trusted_proxies"),
        ({}, INSPECTOR, {"NOTIFY_SOCKET": "/run/n"}, "NOTIFY_SOCKET"),
        ({}, INSPECTOR, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "KUBERNETES_SERVICE_HOST"),
    ],
)
def test_a_refusal(server: dict[str, object], inspector: str, environment: dict[str, str], words: str) -> None:
    [problem] = refusals(ServerConfig.model_validate(server), inspector, environment)
    assert words in str(problem)


@pytest.mark.parametrize("listen", ["127.0.0.1:3000", "localhost:3000", "[::1]:3000", "127.9.9.9:1"])
def test_loopback_is_served(listen: str) -> None:
    server = ServerConfig.model_validate({"listen": listen, "trusted_proxies": ["127.0.0.0/8", "unix"]})
    assert list(refusals(server, INSPECTOR, {"NOTIFY_SOCKET": ""})) == []
