"""Canary: the undocumented behaviour of httpcore2 that the package relies on."""

from __future__ import annotations

from typing import Any

import httpcore2
import pytest

from tests.support.clients import IdleWaiter
from wagi_gateway.outbound.deadline import CallDeadline
from wagi_gateway.outbound.pool import Pool

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class RecordingStream(httpcore2.NetworkStream):
    """A connection to a server that answers each request with ANSWER."""

    def __init__(self, surplus: bytes) -> None:
        self.timeouts: list[Any] = []
        self.infos: list[str] = []
        self.is_closed = False
        self._surplus = surplus
        self._answer = b""

    def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        self.timeouts.append(timeout)
        data, self._answer = self._answer[:max_bytes], self._answer[max_bytes:]
        return data

    def write(self, buffer: bytes, timeout: Any = None) -> None:
        self.timeouts.append(timeout)
        if buffer:
            self._answer = ANSWER + self._surplus

    def start_tls(
        self,
        ssl_context: Any,  # noqa: ARG002
        server_hostname: str | None = None,  # noqa: ARG002
        timeout: Any = None,
    ) -> httpcore2.NetworkStream:
        self.timeouts.append(timeout)
        return self

    def close(self) -> None:
        self.is_closed = True

    def get_extra_info(self, info: str) -> Any:
        self.infos.append(info)
        return False if info == "is_readable" else None


class RecordingBackend(httpcore2.NetworkBackend):
    """Connects to a RecordingStream."""

    def __init__(self, surplus: bytes = b"") -> None:
        self.surplus = surplus
        self.timeouts: list[Any] = []
        self.streams: list[RecordingStream] = []

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002
        port: int,  # noqa: ARG002
        timeout: Any = None,
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Any = None,  # noqa: ARG002
    ) -> httpcore2.NetworkStream:
        self.timeouts.append(timeout)
        self.streams.append(RecordingStream(self.surplus))
        return self.streams[-1]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_timeouts_reach_the_network_backend_unchanged(scheme: str) -> None:
    """The package passes a `CallDeadline` where httpcore expects a number."""
    backend, deadline = RecordingBackend(), CallDeadline(IdleWaiter(), 20, 10)
    extensions = {"timeout": dict.fromkeys(("connect", "read", "write"), deadline)}
    with httpcore2.ConnectionPool(network_backend=backend) as pool:
        url, headers = f"{scheme}://name.test/", [(b"host", b"name.test")]
        response = pool.handle_request(httpcore2.Request("GET", url, headers=headers, extensions=extensions))
        assert response.read() == b"hello"
    (stream,) = backend.streams
    for timeouts in (backend.timeouts, stream.timeouts):
        assert timeouts
        assert all(timeout is deadline for timeout in timeouts)


def test_an_idle_connection_is_checked_and_used_again() -> None:
    """`Stream.get_extra_info("is_readable")` says whether the server has closed it."""
    backend = RecordingBackend()
    with httpcore2.ConnectionPool(network_backend=backend) as pool:
        for _ in range(2):
            assert pool.request("GET", "http://name.test/").read() == b"hello"
    (stream,) = backend.streams
    assert "is_readable" in stream.infos
    assert stream.is_closed


def test_bytes_left_over_stay_in_the_parser() -> None:
    """`Connection` reads `_connection._h11_state.trailing_data` of an idle connection."""
    backend, origin = RecordingBackend(b"surplus"), httpcore2.Origin(b"http", b"name.test", 80)
    connection = httpcore2.HTTPConnection(origin, network_backend=backend)
    request = httpcore2.Request("GET", "http://name.test/", headers=[(b"host", b"name.test")])
    response = connection.handle_request(request)
    assert response.read() == b"hello"
    response.close()
    inner = connection._connection
    assert isinstance(inner, httpcore2.HTTP11Connection)
    assert (connection.is_idle(), inner._h11_state.trailing_data) == (True, (b"surplus", False))
    connection.close()


def test_the_pool_makes_connections_by_its_method() -> None:
    """`Pool` overrides `create_connection`, and `Connection` overrides `has_expired`."""
    backend = RecordingBackend(b"surplus")
    with Pool(network_backend=backend) as pool:
        for _ in range(2):
            assert pool.request("GET", "http://name.test/").read() == b"hello"
    assert len(backend.streams) == 2


def test_a_response_names_its_stream_and_version() -> None:
    backend = RecordingBackend()
    with Pool(network_backend=backend) as pool:
        response = pool.request("GET", "http://name.test/")
    assert response.extensions["network_stream"] is backend.streams[0]
    assert response.extensions["http_version"] == b"HTTP/1.1"


def test_the_end_of_a_body_frees_the_connection_once_it_is_received() -> None:
    """`OpenResponse` reads on after the last byte of a known length."""
    backend = RecordingBackend()
    with httpcore2.ConnectionPool(network_backend=backend) as pool:
        response = pool.handle_request(httpcore2.Request("GET", "http://name.test/", headers=[(b"host", b"name.test")]))
        pieces = iter(response.stream)  # type: ignore[arg-type]
        assert next(pieces) == b"hello"
        assert next(pieces, None) is None
        response.close()
        assert pool.request("GET", "http://name.test/").read() == b"hello"
    assert len(backend.streams) == 1
