"""Listening sockets on a port, or on the next one that is free."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..config.values import parse_listen
from ..errors import StartupError
from ..server.listener import OPERATOR_TIMEOUT, listening_on

_PORTS = 50
"""Ports after the wanted one that are tried if it is taken."""


@contextmanager
def listening_from(address: str, *, is_fixed: bool) -> Iterator[socket.socket]:
    """A listening socket, on the next free port if a port that is not `is_fixed` is taken.

    Raises StartupError, of the wanted port.
    """
    host, port = parse_listen(address)
    name = f"[{host}]" if ":" in host else host
    ports = [port] if is_fixed or not port else range(port, min(port + _PORTS, 65536))
    refusals: list[StartupError] = []
    for at in ports:
        with ExitStack() as stack:
            try:
                listener = stack.enter_context(listening_on(f"{name}:{at}", Path(), OPERATOR_TIMEOUT))
            except StartupError as refusal:
                refusals.append(refusal)
                continue
            yield listener
            return
    raise refusals[0]
