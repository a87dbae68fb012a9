"""Faults of the environment: disks, the registry, the clock, the limit on descriptors."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import resource
import select
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import warnings
from tests.support.attacks import get
from tests.support.registry import running_registry

from .city import TIMEOUT, City

_DAY = 86400
_FREE = 24
"""The number of free descriptors for connections."""
_FOR_GUESTS = 64
"""The number of free descriptors for guests, which get the last quarter of all."""


def no_cache(city: City) -> None:
    """The cache's directory is deleted; changed modules are compiled nevertheless."""
    cache = city.seen("cache") / "modules"
    shutil.rmtree(cache)
    city.renewed()
    city.renewed()


def a_read_only_cache(city: City) -> None:
    """Nothing can be written to the cache."""
    city.remount("cache", "ro")
    try:
        log = city.renewed()
        assert "cache" in log, f"nothing is said of the cache:\n{log}"
    finally:
        city.remount("cache", "rw")
    assert not warnings(city.renewed())


def a_full_cache(city: City) -> None:
    """The disk of the cache is full."""
    with _filled(city.seen("cache")):
        log = city.renewed()
        assert "cache" in log, f"nothing is said of the cache:\n{log}"
    assert not warnings(city.renewed())


def no_temporary_space(city: City) -> None:
    """The disk of temporary files is full: large bodies are refused, bodies that fit into memory are not."""
    body = b"x" * 3_000_000
    assert city.gateway.post("/echo", body).content == body
    with _filled(city.seen("spool")):
        for _ in range(5):
            assert city.gateway.post("/echo", body).status_code == 503
            assert city.gateway.post("/echo", b"small").content == b"small"
    assert city.gateway.post("/echo", body).content == body


def no_registry(city: City) -> None:
    """The registry is unreachable during a reload: the store's copies are used."""
    address = city.registry.address
    city.registry.stop()
    log = city.renewed()
    assert address in log, f"nothing is said of the registry:\n{log}"
    assert city.gateway.get("/pulled").status_code == 200
    city.registry = city.keep(running_registry(city.directory / "registry", address=address))
    assert address not in city.renewed()


def a_jump_of_the_clock(city: City) -> None:
    """The wall clock jumps a day forward, then two back; all time limits hold."""
    assert city.clock
    for offset in (_DAY, -_DAY):
        city.clock.write_text(f"{offset:+d}\n")
        said = city.renewed()
        wanted = time.strftime("%Y-%m-%dT%H", time.gmtime(time.time() + offset))
        assert wanted in said, f"the clock has not moved to {wanted}:\n{said}"
        began = time.monotonic()
        assert city.gateway.get("/loop").status_code == 504
        assert 0.9 < time.monotonic() - began < 5


def no_descriptors(city: City) -> None:
    """All descriptors are in use: new connections wait until others close, and are answered then."""
    pid = city.serving()[0]
    kept = _asking(city)
    _read(kept)
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(number) for number in os.listdir(f"/proc/{pid}/fd")}

    def free(begin: int, end: int) -> int:
        return end - begin - len(taken & set(range(begin, end)))

    limit = next(
        n for n in itertools.count(4, 4) if free(0, n * 3 // 4) >= _FREE and free(n * 3 // 4, n) >= _FOR_GUESTS
    )
    many = free(0, limit * 3 // 4) + 100
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limits[1]))
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(kept)
            waiting = [stack.enter_context(_asking(city)) for _ in range(many)]
            answered = _answered(waiting)
            assert 0 < len(answered) < many, f"{len(answered)} of {many} were answered"
            kept.sendall(get("/hello"))
            _read(kept)
            deadline = time.monotonic() + TIMEOUT
            while waiting := [connection for connection in waiting if connection not in answered]:
                assert time.monotonic() < deadline, f"{len(waiting)} connections wait in vain"
                for connection in answered:
                    connection.close()
                answered = _answered(waiting)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert "few descriptors are left" in city.gateway.log


def _asking(city: City) -> socket.socket:
    connection = socket.create_connection(city.gateway.address, timeout=TIMEOUT)
    connection.sendall(get("/hello"))
    return connection


def _answered(connections: list[socket.socket]) -> list[socket.socket]:
    """The connections with a response, which must be the right one."""
    answered = select.select(connections, [], [], 0.3)[0]
    for connection in answered:
        _read(connection)
    return answered


def _read(connection: socket.socket) -> None:
    """Reads a whole response, which must be the right one."""
    with http.client.HTTPResponse(connection) as response:
        response.begin()
        received = response.status, response.read()
    assert received == (200, b"hello world\n"), received


@contextlib.contextmanager
def _filled(directory: Path) -> Iterator[None]:
    path = directory / "filler"
    try:
        with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield
    finally:
        path.unlink()
