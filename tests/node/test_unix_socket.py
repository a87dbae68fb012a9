"""UNIX sockets at paths of any length."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from wagi_gateway.node.unix_socket import listening_at, short_path


def test_a_long_path_and_a_stale_socket(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 40) / "admin.sock"
    path.parent.mkdir()
    for _ in range(2):
        with listening_at(path) as listener, socket.socket(socket.AF_UNIX) as client:
            assert path.stat().st_mode & 0o777 == 0o600
            with short_path(path) as short:
                client.connect(short)
            listener.accept()[0].close()


def test_a_path_that_cannot_be_bound(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        listening_at(tmp_path / "absent" / "admin.sock")
