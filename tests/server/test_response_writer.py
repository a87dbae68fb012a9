"""What reaches a transport of the writes to a ResponseWriter, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

import pytest

from wagi_gateway.server.response_writer import ResponseWriter


class Recorded(asyncio.Transport):
    """A transport that keeps what each of its writes would send."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.is_closed:
            raise RuntimeError("the handler is closed")
        self.sent.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


Beginning = tuple[ResponseWriter, Recorded, Callable[[], None]]


@pytest.fixture
def beginning() -> Iterator[Beginning]:
    """A writer at the beginning of a response, its transport, and the rest of this turn of the event loop."""
    loop = asyncio.new_event_loop()
    transport = Recorded()
    writer = ResponseWriter(transport, loop)
    writer.begin()
    yield writer, transport, lambda: loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_a_head_goes_out_with_the_beginning_of_its_body(beginning: Beginning) -> None:
    writer, transport, end_turn = beginning
    writer.write(b"head ")
    assert transport.sent == []
    writer.write(b"first ")
    writer.write(b"second")
    end_turn()
    assert transport.sent == [b"head first ", b"second"]


def test_a_head_without_a_body_goes_out_in_the_same_turn_of_the_loop(beginning: Beginning) -> None:
    writer, transport, end_turn = beginning
    writer.write(b"head")
    end_turn()
    assert transport.sent == [b"head"]
    writer.write(b"late")
    assert transport.sent == [b"head", b"late"]


def test_each_response_has_a_head_of_its_own(beginning: Beginning) -> None:
    writer, transport, _ = beginning
    for _ in range(2):
        writer.begin()
        writer.write(b"head ")
        writer.write(b"body")
    assert transport.sent == [b"head body"] * 2


def test_flush_writes_the_head_at_once_and_only_once(beginning: Beginning) -> None:
    writer, transport, end_turn = beginning
    writer.write(b"head")
    writer.flush()
    assert transport.sent == [b"head"]
    end_turn()
    assert transport.sent == [b"head"]


def test_close_comes_after_the_head(beginning: Beginning) -> None:
    writer, transport, _ = beginning
    writer.write(b"head")
    writer.close()
    assert transport.sent == [b"head"]
    assert writer.is_closing()


def test_a_head_for_a_connection_that_was_lost_meanwhile_is_dropped(beginning: Beginning) -> None:
    writer, transport, end_turn = beginning
    writer.write(b"head")
    transport.close()
    end_turn()
    assert transport.sent == []


@pytest.mark.parametrize("before", [b"HTTP/1.1 100 Continue\r\n\r\n", b""], ids=["interim", "end of the last"])
def test_what_comes_before_a_head_is_not_held(beginning: Beginning, before: bytes) -> None:
    writer, transport, _ = beginning
    writer.write(before)
    writer.write(b"head ")
    writer.write(b"body")
    assert transport.sent == [before, b"head body"]
