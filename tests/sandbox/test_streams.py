"""A guest's standard streams in memory: what goes in comes out, in order, and wakes the other side."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wagi_gateway.sandbox.streams import _PIECE_COST, CAPACITY, CHUNK, CLOSED, STDERR, STDIN, STDOUT, StandardStreams

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)
TIMEOUT = 20.0


def streams(
    stdin: bytes | int = b"", *, stderr: int = 2**20, log: Callable[[bytes], None] = lambda _: None
) -> StandardStreams:
    return StandardStreams(stdin, stderr, log)


def drain(taken: StandardStreams) -> list[bytes]:
    """All pieces of standard output."""
    return list(iter(taken.take_stdout, b""))


# Standard output


def cost(piece: bytes) -> int:
    """Bytes of CAPACITY."""
    return len(piece) + _PIECE_COST


PIECES = st.lists(st.one_of(st.binary(min_size=1, max_size=20), st.just(bytes(CHUNK)), st.just(b"x" * (CHUNK - 1))))


@given(PIECES)
def test_what_is_written_is_taken(pieces: list[bytes]) -> None:
    own = streams()
    for piece in pieces:
        own.write_stdout(piece)
    assert own.stdout_held == sum(map(cost, pieces))
    taken = drain(own)
    assert b"".join(taken) == b"".join(pieces)
    assert own.stdout_held == 0
    assert all(len(piece) < 2 * CHUNK for piece in taken)
    assert len(taken) <= 1 + sum(map(cost, pieces)) // CHUNK


@given(st.lists(st.one_of(st.none(), st.binary(min_size=1, max_size=40))))
def test_pieces_are_taken_in_between(writes: list[bytes | None]) -> None:
    """None stands for a read."""
    own, taken = streams(), b""
    for piece in writes:
        if piece is None:
            taken += own.take_stdout()
        else:
            own.write_stdout(piece)
    written = b"".join(piece for piece in writes if piece)
    assert (own.stdout_held == 0) == (len(written) == len(taken))
    assert taken + b"".join(drain(own)) == written


@pytest.mark.parametrize("room", [CAPACITY - _PIECE_COST - 1, 1, 0, -9])
def test_standard_output_is_full(room: int) -> None:
    own = streams()
    own.write_stdout(bytes(CAPACITY - _PIECE_COST - room))
    assert own.is_full == (room <= 0)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.parametrize("size", [1, 2, 16, 1000])
def test_small_pieces_are_bounded_in_number(size: int) -> None:
    own = streams()
    count = 0
    while not own.is_full:
        own.write_stdout(b"x" * size)
        count += 1
    assert count <= 2048
    assert max(map(len, drain(own))) <= CHUNK


def test_a_blocked_guest_is_woken_once_half_is_free(loop: asyncio.AbstractEventLoop) -> None:
    wakes: list[int] = []
    own = streams()
    own.attach(loop, lambda: wakes.append(own.stdout_held))
    for _ in range(CAPACITY // CHUNK):
        own.write_stdout(bytes(CHUNK))
    own.is_guest_blocked = True
    drain(own)
    assert wakes == [CHUNK + _PIECE_COST]
    assert not own.is_guest_blocked


def test_a_guest_that_is_not_blocked_is_not_woken(loop: asyncio.AbstractEventLoop) -> None:
    wakes: list[None] = []
    own = streams()
    own.attach(loop, lambda: wakes.append(None))
    own.write_stdout(bytes(CAPACITY))
    drain(own)
    assert wakes == []


# The event loop's wait


@pytest.mark.parametrize("change", ["write", "close", "move"])
@pytest.mark.parametrize("is_earlier", [True, False], ids=["before the wait", "during the wait"])
def test_the_wait_ends_with_output_or_its_end(change: str, is_earlier: bool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        own, waiter = streams(), loop.create_future()
        own.attach(loop, lambda: None)

        def act() -> None:
            if change == "write":
                own.write_stdout(b"x")
            elif change == "close":
                own.close(STDOUT)
            else:
                own.renumber(STDERR, STDOUT)

        if is_earlier:
            act()
            own.set_waiter(waiter)
            assert waiter.done()
        else:
            own.set_waiter(waiter)
            assert not waiter.done()
            threading.Thread(target=act).start()
        await asyncio.wait_for(waiter, TIMEOUT)

    asyncio.run(main())


@pytest.mark.parametrize("change", ["standard error", "standard error is closed", "input is closed", "output is moved"])
def test_the_wait_goes_on(change: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        own, waiter = streams(), loop.create_future()
        own.attach(loop, lambda: None)
        own.set_waiter(waiter)
        if change == "standard error":
            own.write_stderr(b"x")
        elif change == "standard error is closed":
            own.close(STDERR)
        elif change == "input is closed":
            own.close(STDIN)
        else:
            own.renumber(STDOUT, STDERR)
        for _ in range(3):
            await asyncio.sleep(0)
        assert not waiter.done()

    asyncio.run(main())


@pytest.mark.usefixtures("nervous")
def test_no_wake_up_is_lost_between_threads() -> None:
    """Writer and reader wait for each other, as a guest and the event loop do."""

    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        own, has_room = streams(), threading.Event()
        own.attach(loop, has_room.set)
        chance = random.Random(14)
        pieces = [bytes([number % 251]) * chance.choice((1, 100, CHUNK)) for number in range(2000)]

        def write() -> None:
            for piece in pieces:
                own.write_stdout(piece)
                while own.is_full:
                    own.is_guest_blocked = True
                    if own.is_full:
                        assert has_room.wait(TIMEOUT)
                        has_room.clear()
                own.is_guest_blocked = False
            own.close(STDOUT)

        thread = threading.Thread(target=write)
        thread.start()
        taken, most = [], 0
        while True:
            is_last = own.is_stdout_closed
            most = max(most, own.stdout_held)
            if data := own.take_stdout():
                taken.append(data)
            elif is_last:
                break
            else:
                waiter: asyncio.Future[None] = loop.create_future()
                own.set_waiter(waiter)
                await asyncio.wait_for(waiter, TIMEOUT)
        thread.join()
        assert most < CAPACITY + CHUNK
        assert b"".join(taken) == b"".join(pieces)
        return b""

    asyncio.run(main())


def test_after_the_event_loop_is_closed() -> None:
    loop = asyncio.new_event_loop()
    own = streams()
    own.attach(loop, lambda: None)
    own.set_waiter(loop.create_future())
    loop.close()
    own.write_stdout(b"x")
    own.write_stderr(b"x")
    own.close(STDOUT)


# Standard error


@pytest.mark.parametrize(
    ("limit", "kept", "has_room"),
    [
        (1000, b"one\ntwo\n", True),
        (4, b"one\n", False),
        (300, b"one\ntwo\n", False),
        (262, b"one\ntw", False),
        (2, b"on", False),
        (0, b"", False),
    ],
    ids=["all", "one line", "both lines", "a line costs more than its bytes", "a part of a line", "none"],
)
def test_the_limit_of_standard_error(limit: int, kept: bytes, has_room: bool) -> None:
    logged: list[bytes] = []
    own = streams(stderr=limit, log=logged.append)
    own.write_stderr(b"one\ntwo\n")
    own.detach()
    assert (b"".join(logged), own.stderr_dropped) == (kept, 8 - len(kept))
    assert own.drop_stderr(5) != has_room
    assert own.stderr_dropped == 8 - len(kept) + 5 * (not has_room)


@given(st.lists(st.binary(max_size=30)), st.integers(0, 1000))
def test_standard_error_is_cut_off_once(pieces: list[bytes], limit: int) -> None:
    logged: list[bytes] = []
    own = streams(stderr=limit, log=logged.append)
    for piece in pieces:
        own.write_stderr(piece)
    own.detach()
    kept, written = b"".join(logged), b"".join(pieces)
    assert written.startswith(kept)
    assert len(kept) + own.stderr_dropped == len(written)
    assert len(kept) <= limit
    assert len(kept) == len(written) or len(kept) + 256 * kept.count(b"\n") >= limit


def test_standard_error_is_logged_while_the_guest_runs() -> None:
    async def main() -> list[int]:
        logged: list[bytes] = []
        is_logged = asyncio.Event()

        def log(data: bytes) -> None:
            logged.append(data)
            if sum(map(len, logged)) == 5000:
                is_logged.set()

        own = streams(log=log)
        own.attach(asyncio.get_running_loop(), lambda: None)
        threading.Thread(target=own.write_stderr, args=(b"x" * 5000,)).start()
        await asyncio.wait_for(is_logged.wait(), TIMEOUT)
        return list(map(len, logged))

    sizes = asyncio.run(main())
    assert max(sizes) <= 2048  # a piece for each turn of the event loop


def test_standard_error_is_full_until_it_is_logged() -> None:
    async def main() -> None:
        woken = asyncio.Event()
        own = streams()
        own.attach(asyncio.get_running_loop(), woken.set)
        own.write_stderr(bytes(CAPACITY))
        assert own.is_full
        own.is_guest_blocked = True
        await asyncio.wait_for(woken.wait(), TIMEOUT)
        assert not own.is_full

    asyncio.run(main())


# Standard input


@pytest.mark.parametrize("kind", ["bytes", "file"])
@given(body=st.binary(max_size=300), sizes=st.lists(st.integers(1, 100), min_size=1, max_size=20))
def test_standard_input(kind: str, body: bytes, sizes: list[int]) -> None:
    file = os.memfd_create("body")
    try:
        os.write(file, body)
        own = streams(body if kind == "bytes" else file)
        read = b""
        for size in sizes:
            assert own.stdin_left() == len(body) - len(read)
            data = own.read_stdin(size)
            assert len(data) == min(size, len(body) - len(read))
            read += data
        assert body.startswith(read)
        assert os.lseek(file, 0, os.SEEK_CUR) == len(body)  # the file's position is not moved
    finally:
        os.close(file)


@pytest.mark.parametrize("kind", ["bytes", "file"])
def test_a_read_is_a_chunk_at_most(kind: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(bytes(3 * CHUNK))
    with (tmp_path / "body").open("rb") as file:
        own = streams(bytes(3 * CHUNK) if kind == "bytes" else file.fileno())
        assert [len(own.read_stdin(2**32 - 1)) for _ in range(4)] == [CHUNK, CHUNK, CHUNK, 0]


def test_standard_input_that_is_gone() -> None:
    own = streams(999_999)
    for read in (own.stdin_left, lambda: own.read_stdin(1)):
        with pytest.raises(OSError, match="Bad file descriptor"):
            read()


# Descriptors


@pytest.mark.parametrize(
    ("moves", "table", "is_closed"),
    [
        ([], [STDIN, STDOUT, STDERR], False),
        ([(1,)], [STDIN, CLOSED, STDERR], True),
        ([(0,), (2,)], [CLOSED, STDOUT, CLOSED], False),
        ([(2, 1)], [STDIN, STDERR, CLOSED], True),
        ([(1, 2)], [STDIN, CLOSED, STDOUT], False),
        ([(1, 2), (2,)], [STDIN, CLOSED, CLOSED], True),
        ([(1, 1)], [STDIN, STDOUT, STDERR], False),
        ([(0, 1)], [CLOSED, STDIN, STDERR], True),
        ([(1, 0), (0, 1)], None, None),
    ],
    ids=(
        "untouched|output closed|others closed|error to output|output to error|and closed|to itself|input to output"
        "|there and back"
    ).split("|"),
)
def test_the_table(moves: list[tuple[int, ...]], table: list[int] | None, is_closed: bool | None) -> None:
    own = streams()
    for source, *target in moves:
        if target:
            own.renumber(source, *target)
        else:
            own.close(source)
    if table is None:
        table, is_closed = [CLOSED, STDOUT, STDERR], False
    assert (own.descriptors, own.is_stdout_closed) == (table, is_closed)


@given(st.lists(st.tuples(st.integers(0, 2), st.one_of(st.none(), st.integers(0, 2))), max_size=12))
def test_the_end_of_standard_output_is_final(moves: list[tuple[int, int | None]]) -> None:
    own, was_closed = streams(), False
    for source, target in moves:
        if target is None:
            own.close(source)
        elif own.descriptors[source] != CLOSED:
            own.renumber(source, target)
        assert own.is_stdout_closed == (STDOUT not in own.descriptors)
        assert not (was_closed and not own.is_stdout_closed)
        was_closed = own.is_stdout_closed
