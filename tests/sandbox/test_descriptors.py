"""The WASI functions on the descriptors 0 to 2, beside wasmtime's own, and at the ends of a guest's memory."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.wasi import PAGE, SIGNATURES, WasiCaller, edge_arguments, gateways, wasmtimes
from wagi_gateway.sandbox import descriptors
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.descriptors import fd_close, fd_read, fd_write, is_open
from wagi_gateway.sandbox.streams import CHUNK

SUCCESS, BADF, FAULT, INVAL, IO, SPIPE = 0, 8, 21, 28, 29, 70
DESCRIPTORS = (0, 1, 2, 3, 99, 2**31, -1)
BODY = b"standard input"
TEXT_AT, IOVECS_AT, STAT_AT, RESULT_AT = 32, 0, 200, 100
ON_FILES = sorted(name for name in SIGNATURES if name.startswith(("fd_", "path_", "sock_")))


def arguments(name: str, descriptor: int, other: int = 1) -> tuple[int, ...]:
    """Arguments that are valid but for the descriptor; `other` is the second one of fd_renumber."""
    known = {
        "fd_write": (IOVECS_AT, 1, RESULT_AT),
        "fd_read": (IOVECS_AT, 1, RESULT_AT),
        "fd_pwrite": (IOVECS_AT, 1, 0, RESULT_AT),
        "fd_pread": (IOVECS_AT, 1, 0, RESULT_AT),
        "fd_renumber": (other,),
        "fd_fdstat_get": (STAT_AT,),
        "fd_filestat_get": (STAT_AT,),
        "fd_prestat_get": (STAT_AT,),
        "fd_prestat_dir_name": (STAT_AT, 4),
        "fd_readdir": (STAT_AT, 64, 0, RESULT_AT),
        "path_filestat_get": (0, TEXT_AT, 3, STAT_AT),
        "path_open": (0, TEXT_AT, 3, 0, 0, 0, 0, RESULT_AT),
        "path_link": (0, TEXT_AT, 3, descriptor, TEXT_AT, 3),
        "path_rename": (TEXT_AT, 3, descriptor, TEXT_AT, 3),
    }
    if name == "path_symlink":
        return (TEXT_AT, 3, descriptor, TEXT_AT, 3)
    return (descriptor, *known.get(name, (0,) * (len(SIGNATURES[name]) - 1)))


def prepare(caller: WasiCaller) -> None:
    """Writes two iovecs of "one two" and clears the places of results."""
    caller.write(0, struct.pack("<IIII", TEXT_AT, 3, TEXT_AT + 3, 4))
    caller.write(TEXT_AT, b"one two")
    caller.write(RESULT_AT, bytes(400))


def output(context: ExecutionContext) -> tuple[bytes, bytes]:
    """What the guest has written to standard output and standard error."""
    stdout, stderr = context.streams._stdout, context.streams._stderr
    return b"".join(stdout), b"".join(stderr)


@pytest.mark.parametrize("name", ON_FILES)
def test_as_wasmtimes_own(name: str, tmp_path: Path) -> None:
    for descriptor in DESCRIPTORS:
        with gateways(BODY) as (own, context), wasmtimes(tmp_path, BODY) as reference:
            found = []
            for caller in (own, reference):
                prepare(caller)
                found.append((caller.call(name, *arguments(name, descriptor)), caller.read(0, 1000)))
            assert found[0] == found[1], f"{name}({descriptor})"
            assert output(context) == tuple((tmp_path / name).read_bytes() for name in "12")


CALLS = st.tuples(
    st.sampled_from([*(name for name in ON_FILES if name.startswith("fd_")), *["fd_close", "fd_renumber"] * 4]),
    st.sampled_from([0, 1, 2, 0, 1, 2, 3, 99]),
    st.sampled_from([0, 1, 2, 0, 1, 2, 3, 99]),
)


@given(calls=st.lists(CALLS, max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_sequence_as_with_wasmtimes_own(calls: list[tuple[str, int, int]], tmp_path: Path) -> None:
    with gateways(BODY) as (own, context), wasmtimes(tmp_path, BODY) as reference:
        for name, descriptor, other in calls:
            found = []
            for caller in (own, reference):
                prepare(caller)
                found.append((caller.call(name, *arguments(name, descriptor, other)), caller.read(0, 1000)))
            assert found[0] == found[1]
        assert output(context) == tuple((tmp_path / name).read_bytes() for name in "12")


def test_edge_values_neither_trap_nor_fail(caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(14)
    names = sorted(SIGNATURES.keys() - {"proc_exit", "proc_raise", "clock_res_get", "clock_time_get", "poll_oneoff"})
    for _ in range(20):
        with gateways(BODY, time=60, stderr=1000) as (own, context):
            for _ in range(60):
                name = chance.choice(names)
                values = edge_arguments(name, chance)
                assert isinstance(own.call(name, *values), int), f"{name}{values}"
                while context.streams.take_stdout():
                    pass
    assert caplog.records == []


def write(caller: WasiCaller, *iovecs: tuple[int, int], descriptor: int = 1, written_at: int = 8) -> int | str:
    """Calls fd_write with iovecs at 1024."""
    caller.write(1024, b"".join(struct.pack("<II", *iovec) for iovec in iovecs))
    return caller.call("fd_write", descriptor, 1024, len(iovecs), written_at)


def number(caller: WasiCaller, at: int = 8) -> int:
    """An i32 in the guest's memory."""
    return int.from_bytes(caller.read(at, 4), "little")


TEXT = b"one two"
GATHERED = [
    pytest.param([(16, 3)], b"one", id="one"),
    pytest.param([(16, 3), (19, 4)], TEXT, id="two"),
    pytest.param([(16, 3), (19, 1), (20, 3)], TEXT, id="three"),
    pytest.param([(16, 0), (20, 3)], b"two", id="first is empty"),
    pytest.param([(16, 3), (0, 0), (19, 4), (0, 0)], TEXT, id="others are empty"),
    pytest.param([], b"", id="none"),
    pytest.param([(16, 0)] * 1024, b"", id="1024 empty"),
    pytest.param([(16, 3)] * 1024, b"one" * 1024, id="1024"),
    pytest.param([(16, 3), (17, 2), (16, 7)], b"onene" + TEXT, id="overlapping"),
    pytest.param([(PAGE, 0), (16, 7)], TEXT, id="empty at the end of memory"),
    pytest.param([(PAGE - 3, 3), (16, 3)], b"endone", id="ends with memory"),
    pytest.param([(1024, 8)], struct.pack("<II", 1024, 8), id="itself"),
    pytest.param([(8, 4), (16, 3)], b"\0\0\0\0one", id="the number of bytes"),
]


@pytest.mark.parametrize("descriptor", [1, 2])
@pytest.mark.parametrize(("iovecs", "expected"), GATHERED)
def test_all_pieces_are_written(iovecs: list[tuple[int, int]], expected: bytes, descriptor: int) -> None:
    with gateways(stderr=10_000) as (own, context):
        own.write(16, TEXT)
        own.write(PAGE - 3, b"end")
        assert write(own, *iovecs, descriptor=descriptor) == SUCCESS
        assert output(context) == ((expected, b"") if descriptor == 1 else (b"", expected))
        assert number(own) == len(expected)


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1])
def test_pieces_that_cross_a_chunk(size: int) -> None:
    with gateways() as (own, context):
        own.call("random_get", 0, PAGE)
        half = min(size, PAGE) // 2
        iovecs = [(100, half), (200, min(size - half, PAGE - 200)), (PAGE - 9, 9)]
        own.write(1024, b"".join(struct.pack("<II", *iovec) for iovec in iovecs))
        expected = b"".join(own.read(start, length) for start, length in iovecs)
        assert own.call("fd_write", 1, 1024, 3, PAGE - 4) == SUCCESS
        assert output(context)[0] == expected
        assert number(own, PAGE - 4) == len(expected)


@pytest.mark.parametrize("function", ["fd_write", "fd_read"])
@pytest.mark.parametrize(
    ("iovecs", "count", "result_at", "error"),
    [
        (PAGE - 8, 1, 8, SUCCESS),
        (PAGE - 7, 1, 8, FAULT),
        (PAGE, 0, 8, SUCCESS),
        (PAGE + 1, 0, 8, FAULT),
        (-8, 1, 8, FAULT),
        (-1, 1, 8, FAULT),
        (0, 1, PAGE - 4, SUCCESS),
        (0, 1, PAGE - 3, FAULT),
        (0, 1, -1, FAULT),
        (0, 1024, 8, SUCCESS),
        (PAGE - 8 * 1024, 1024, 8, SUCCESS),
        (PAGE - 8 * 1024 + 1, 1024, 8, FAULT),
        (0, 1025, 8, INVAL),
        (0, 2**24, 8, INVAL),
        (0, 2**24 - 1, 8, INVAL),
        (0, -1, 8, INVAL),
    ],
)
def test_the_ends_of_memory(function: str, iovecs: int, count: int, result_at: int, error: int) -> None:
    with gateways(BODY) as (own, _context):
        assert own.call(function, 1 if function == "fd_write" else 0, iovecs, count, result_at) == error


@pytest.mark.parametrize("descriptor", [0, 1, 2])
@pytest.mark.parametrize(
    "beyond",
    [(PAGE, 1), (PAGE - 1, 2), (PAGE + 1, 0), (0, PAGE + 1), (0, 2**32 - 1), (2**32 - 1, 1), (2**32 - 1, 2**32 - 1)],
)
def test_nothing_moves_if_a_piece_is_beyond_memory(beyond: tuple[int, int], descriptor: int) -> None:
    with gateways(BODY) as (own, context):
        own.write(0, struct.pack("<IIII", 16, 16, *beyond))
        before = own.read(0, PAGE)
        function = "fd_write" if descriptor else "fd_read"
        assert own.call(function, descriptor, 0, 2, 512) == FAULT
        assert output(context) == (b"", b"")
        assert own.read(0, PAGE) == before
        assert context.streams.stdin_left() == len(BODY)


def test_a_grown_memory() -> None:
    with gateways() as (own, context):
        assert write(own, (PAGE, 4)) == FAULT
        own._memory.grow(own._store, 1)
        own.write(PAGE, b"high")
        assert write(own, (PAGE, 4)) == SUCCESS
        assert output(context) == (b"high", b"")


@pytest.mark.parametrize("name", ["fd_write", "fd_read", "fd_fdstat_get", "fd_filestat_get"])
def test_without_memory(name: str) -> None:
    with gateways() as (_own, context):
        context.memory = None
        function = getattr(descriptors, name)
        descriptor = 0 if name == "fd_read" else 1
        assert function(context, descriptor, *(0,) * (len(SIGNATURES[name]) - 1)) == FAULT


@pytest.mark.parametrize(
    ("iovecs", "expected", "left"),
    [
        ([(1000, 3)], b"sta", 11),
        ([(1000, 3), (1003, 5)], b"standard", 6),
        ([(1000, 0), (1000, 4), (1004, 0), (1004, 1)], b"stand", 9),
        ([(1000, 14)], BODY, 0),
        ([(1000, 15), (2000, 1)], BODY, 0),
        ([], b"", 14),
        ([(1000, 0)] * 1024, b"", 14),
        ([(1000, 1)] * 1024, b"t", 0),
        ([(PAGE - 2, 2)], b"", 12),
    ],
    ids="one|two|empty ones|all|more than all|none|1024 empty|1024 of the same place|end of memory".split("|"),
)
def test_all_pieces_are_read(iovecs: list[tuple[int, int]], expected: bytes, left: int) -> None:
    with gateways(BODY) as (own, context):
        own.write(8192, b"".join(struct.pack("<II", *iovec) for iovec in iovecs))
        assert own.call("fd_read", 0, 8192, len(iovecs), 8) == SUCCESS
        assert own.read(1000, len(expected)) == expected
        assert not any(own.read(1000 + len(expected), 100))
        assert (number(own), context.streams.stdin_left()) == (14 - left, left)


def test_a_body_is_read_to_its_end_and_no_further() -> None:
    with gateways(bytes(3 * CHUNK) + b"end") as (own, context):
        own.write(0, struct.pack("<II", 64, PAGE - 64))
        sizes: list[int] = []
        while not sizes or sizes[-1]:
            assert own.call("fd_read", 0, 0, 1, 8) == SUCCESS
            sizes.append(number(own))
            own.write(0, struct.pack("<II", 64, PAGE - 64))
        assert sizes == [PAGE - 64] * 3 + [3 * 64 + 3, 0]
        assert context.streams.stdin_left() == 0


def test_a_body_whose_file_is_gone() -> None:
    with gateways(stdin=999_999) as (own, _context):
        own.write(0, struct.pack("<II", 64, 16))
        assert own.call("fd_read", 0, 0, 1, 8) == IO


def test_closed_descriptors() -> None:
    with gateways(BODY) as (own, context):
        for descriptor in (0, 1, 2):
            assert is_open(context, descriptor)
            assert fd_close(context, descriptor) == SUCCESS
            assert not is_open(context, descriptor)
            assert fd_close(context, descriptor) == BADF
        own.call("sched_yield")
        assert [fd_write(context, descriptor, 0, 0, 8) for descriptor in (0, 1, 2)] == [BADF] * 3
        assert fd_read(context, 0, 0, 0, 8) == BADF
        assert context.streams.is_stdout_closed


def test_output_that_is_the_other_stream() -> None:
    with gateways() as (own, context):
        own.write(16, TEXT)
        assert own.call("fd_renumber", 2, 1) == SUCCESS
        assert context.streams.is_stdout_closed
        assert write(own, (16, 3), descriptor=1) == SUCCESS
        assert write(own, (16, 3), descriptor=2) == BADF
        assert output(context) == (b"", b"one")


def test_a_seek_is_refused_as_for_a_pipe() -> None:
    with gateways(BODY) as (own, _context):
        for descriptor in (0, 1, 2):
            assert own.call("fd_seek", descriptor, 0, 1, 8) == SPIPE
            assert own.call("fd_tell", descriptor, 8) == SPIPE
