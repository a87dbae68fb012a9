"""An address of this machine that is not a loopback one."""

from __future__ import annotations

import socket

import pytest


def own_address() -> str:
    """The source address of a packet to another network; skips the test on a machine without a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        try:
            connection.connect(("198.51.100.1", 9))  # sends nothing
        except OSError as error:
            pytest.skip(f"this machine has no address but loopback ones: {error.strerror}")
        return str(connection.getsockname()[0])
