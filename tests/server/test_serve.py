"""The lines of a start; a whole start is in tests/cli/test_main.py and tests/system/test_start_and_stop.py."""

from __future__ import annotations

import socket

import pytest

from wagi_gateway.router import RoutePattern
from wagi_gateway.server.serve import route_link


@pytest.mark.parametrize(
    ("route", "link"),
    [
        ("/m", "/m"),
        ("/m/...", "/m (and below)"),
        ("/...", "/ (and below)"),
        ("/a b/é", "/a%20b/%C3%A9"),
        ("/100%25", "/100%25"),
        ('/"<x>', "/%22%3Cx%3E"),
        ("/a;b=c,d:@!$&'()*+~", "/a;b=c,d:@!$&'()*+~"),
    ],
)
def test_the_url_of_a_route_is_a_link(route: str, link: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        at = f"https://127.0.0.1:{listener.getsockname()[1]}{link}"
        assert route_link(RoutePattern(route), listener, is_secure=True) == at
