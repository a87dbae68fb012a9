"""Addresses of sockets in one spelling."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from tests.conftest import running
from tests.support.config import config, module
from tests.support.env_guest import ENV, seen
from wagi_gateway.server.addresses import canonical


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (("192.0.2.1", 80), ("192.0.2.1", 80)),
        (("::ffff:192.0.2.1", 80), ("192.0.2.1", 80)),
        (("2001:db8::1", 80), ("2001:db8::1", 80)),
        (("fe80::1%eth0", 80), ("fe80::1", 80)),
        (("::1", 80), ("::1", 80)),
        (("::ffff:0:1", 80), ("::ffff:0:1", 80)),
        (("/run/wagi.sock", None), ("/run/wagi.sock", None)),
        (None, None),
    ],
    ids=str,
)
def test_canonical(address: tuple[str, int | None] | None, expected: tuple[str, int | None] | None) -> None:
    assert canonical(address) == expected


@pytest.mark.parametrize("trusted", ["127.0.0.1", "::ffff:127.0.0.1", "::ffff:127.0.0.0/104"])
def test_a_client_of_an_ipv6_socket_that_has_an_ipv4_address(tmp_path: Path, cache: Path, trusted: str) -> None:
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
        listener.listen()
        listener.set_inheritable(True)
        (tmp_path / "env.wat").write_text(ENV)
        text = config(module("/...", "env.wat"), server={"trusted_proxies": [trusted]})
        descriptor = listener.fileno()
        with running(tmp_path, text, cache=cache, listen=f"fd:{descriptor}", pass_fds=(descriptor,)) as server:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            own = seen(httpx.get(url, trust_env=False).content)
            forwarded = seen(httpx.get(url, headers={"x-forwarded-for": "::ffff:192.0.2.7"}, trust_env=False).content)
            server.wait_for_log(r" client=192\.0\.2\.7 ")
            server.wait_for_log(r" client=127\.0\.0\.1 ")
    assert (own["REMOTE_ADDR"], own["SERVER_NAME"]) == (b"127.0.0.1", b"127.0.0.1")
    assert forwarded["REMOTE_ADDR"] == b"192.0.2.7"
