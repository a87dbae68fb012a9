"""Listening sockets on the next free port."""

from __future__ import annotations

import pytest

from wagi_gateway.dev.free_port import listening_from
from wagi_gateway.errors import StartupError


def test_the_next_free_port_is_taken() -> None:
    with listening_from("127.0.0.1:0", is_fixed=False) as first:
        port = first.getsockname()[1]
        with listening_from(f"127.0.0.1:{port}", is_fixed=False) as second:
            assert port < second.getsockname()[1] <= port + 50


def test_a_port_that_is_fixed_is_refused() -> None:
    with listening_from("127.0.0.1:0", is_fixed=True) as first:
        port = first.getsockname()[1]
        with pytest.raises(StartupError, match=str(port)), listening_from(f"127.0.0.1:{port}", is_fixed=True):
            pass
