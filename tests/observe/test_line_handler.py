"""The order and the size of the writes of a log on a stream."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wagi_gateway.observe.line_handler import LineHandler
from wagi_gateway.observe.log_format import TextFormatter


class Pipe:
    """A pipe in packet mode: each read returns the data of one write (pipe(2), O_DIRECT)."""

    def __init__(self) -> None:
        self._end, end = os.pipe2(os.O_DIRECT)
        os.set_blocking(self._end, False)
        self.stream = os.fdopen(end, "w", buffering=1, encoding="utf-8", errors="backslashreplace")  # as standard error
        self.handler = LineHandler(self.stream, TextFormatter())

    def writes(self) -> list[str]:
        """The writes since the last call."""
        found = []
        while True:
            try:
                found.append(os.read(self._end, 2**16).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self.stream.close()
        os.close(self._end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("wagi_gateway", logging.WARNING, "", 0, message, (), None)


def test_the_lines_of_a_turn_of_the_event_loop_are_one_write(pipe: Pipe) -> None:
    async def main() -> None:
        for line in "abc":
            pipe.handler.write_soon(line)
        assert pipe.writes() == []
        await asyncio.sleep(0)
        assert pipe.writes() == ["a\nb\nc\n"]
        pipe.handler.write_soon("d")
        await asyncio.sleep(0)
        assert pipe.writes() == ["d\n"]

    asyncio.run(main())


def test_a_record_comes_after_the_lines_before_it(pipe: Pipe) -> None:
    async def main() -> None:
        pipe.handler.write_soon("a")
        pipe.handler.handle(record("b"))
        pipe.handler.write_soon("c")
        first, second = pipe.writes()
        assert first == "a\n"
        assert second.endswith(" WARNING b\n")
        await asyncio.sleep(0)
        assert pipe.writes() == ["c\n"]

    asyncio.run(main())


def test_a_write_is_no_longer_than_what_a_pipe_takes_in_one_piece(pipe: Pipe) -> None:
    lines = [f"{number:0{number}}" for number in range(1, 200)]

    async def main() -> None:
        for line in lines:
            pipe.handler.write_soon(line)
        await asyncio.sleep(0)

    asyncio.run(main())
    writes = pipe.writes()
    assert "".join(writes) == "".join(f"{line}\n" for line in lines)
    assert all(write.endswith("\n") and len(write) <= select.PIPE_BUF for write in writes)
    assert len(writes) <= sum(map(len, lines)) // (select.PIPE_BUF - 200) + 1


def test_a_line_that_is_longer_in_bytes_than_in_characters_is_a_write_of_its_own(pipe: Pipe) -> None:
    async def main() -> None:
        for line in ("a", "b", "é" * 2000, "ü", "c", "d"):
            pipe.handler.write_soon(line)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert pipe.writes() == ["a\nb\n", "é" * 2000 + "\n", "ü\n", "c\nd\n"]


def test_a_line_without_an_event_loop_is_written_at_once(pipe: Pipe) -> None:
    pipe.handler.write_soon("a")
    assert pipe.writes() == ["a\n"]


def test_no_line_waits_for_an_event_loop_that_does_not_turn_again(pipe: Pipe) -> None:
    async def log(line: str) -> None:
        pipe.handler.write_soon(line)

    stopped = asyncio.new_event_loop()
    stopped.call_soon(stopped.stop)
    stopped.call_soon(pipe.handler.write_soon, "a")
    stopped.run_forever()
    assert pipe.writes() == []
    asyncio.run(log("b"))
    assert pipe.writes() == ["a\n", "b\n"]
    stopped.close()


def test_no_line_is_lost_or_written_twice_beside_records_of_other_threads(tmp_path: Path) -> None:
    wanted = [f"line {number}" for number in range(500)]
    is_over = threading.Event()

    def log(handler: LineHandler) -> None:
        while not is_over.is_set():
            handler.handle(record("r"))

    async def main(handler: LineHandler) -> None:
        other = threading.Thread(target=log, args=[handler])
        other.start()
        for line in wanted:
            handler.write_soon(line)
            await asyncio.sleep(0)
        is_over.set()
        other.join()

    path, before = tmp_path / "log", sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with path.open("w") as stream:
            asyncio.run(main(LineHandler(stream, TextFormatter())))
    finally:
        sys.setswitchinterval(before)
    assert [line for line in path.read_text().splitlines() if not line.endswith(" r")] == wanted


WRITER = """
import asyncio, sys
from wagi_gateway.observe.line_handler import LineHandler
from wagi_gateway.observe.log_format import TextFormatter
async def main():
    handler = LineHandler(sys.stderr, TextFormatter())
    for turn in range(200):
        for line in range(40):
            handler.write_soon(sys.argv[1] * (line * 7 + 1))
        await asyncio.sleep(0)
asyncio.run(main())
"""


def test_lines_of_processes_that_share_a_pipe_stay_whole() -> None:
    end, other_end = os.pipe()
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, letter], stderr=other_end) for letter in "ab"]
    os.close(other_end)
    with open(end) as lines:
        found = sorted(lines.read().splitlines())
    assert [writer.wait() for writer in writers] == [0, 0]
    assert found == sorted(letter * (line * 7 + 1) for letter in "ab" for line in range(40) for _ in range(200))


class Broken(io.StringIO):
    """A stream of a program around the gateway."""

    def write(self, _text: str) -> int:
        raise RuntimeError("reentrant call")


def test_a_stream_that_raises_ends_no_request() -> None:
    LineHandler(Broken(), TextFormatter()).write_soon("a")


@pytest.mark.parametrize("is_closed", [False, True], ids=["full", "closed"])
def test_what_cannot_be_written_is_lost_without_an_error(is_closed: bool, caplog: pytest.LogCaptureFixture) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    stream = os.fdopen(descriptor, "w", buffering=1)
    handler = LineHandler(stream, TextFormatter())
    if is_closed:
        stream.close()

    async def main() -> None:
        for line in ("a", "b" * 5000, "ü"):
            handler.write_soon(line)
            await asyncio.sleep(0)
        handler.flush()

    asyncio.run(main())
    assert caplog.records == []
    if not is_closed:
        with pytest.raises(OSError, match="No space"):  # what the stream still has
            stream.close()


def test_what_is_held_is_written_at_the_end_of_the_process() -> None:
    code = (
        "import asyncio, sys; from wagi_gateway.observe.line_handler import LineHandler\n"
        "from wagi_gateway.observe.log_format import TextFormatter\n"
        "async def main():\n    LineHandler(sys.stderr, TextFormatter()).write_soon('a'); sys.exit(3)\n"
        "handler = None; asyncio.run(main())"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.stderr, ended.returncode) == ("a\n", 3)
