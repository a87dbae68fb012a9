"""Reading a log: across rotations, from the end, while it is written."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path

import pytest

from wagi_gateway.node.server import log_file
from wagi_gateway.node.server.log_file import Line, LogReader
from wagi_gateway.observe.log_file import Rotation, append
from wagi_gateway.observe.log_file import rotated as rotated_files

SMALL = Rotation(400, 4)


def line(text: str, tag: str = "F") -> bytes:
    return f"2026-11-30T12:00:00.000000000Z stderr {tag} {text}\n".encode()


def write(path: Path, texts: list[str], rotation: Rotation = SMALL) -> None:
    for text in texts:
        append(path, line(*text.split("|")), rotation)


def read(reader: LogReader) -> list[str]:
    return [one.text.decode() for block in reader.blocks() for one in block]


def texts(path: Path, tail: int | None = None) -> list[str]:
    with closing(LogReader(path, tail)) as reader:
        return read(reader)


@pytest.mark.parametrize("data", [b"", b"x", b"a b c", b"\xff \xff"])
def test_what_is_no_line(data: bytes) -> None:
    assert Line.parse(data) is None


def test_a_line_may_be_empty_or_have_blanks() -> None:
    assert [Line.parse(line(text).removesuffix(b"\n")) for text in ("", " a  b ")] == [
        (b"2026-11-30T12:00:00.000000000Z", True, b""),
        (b"2026-11-30T12:00:00.000000000Z", True, b" a  b "),
    ]


def test_a_log_without_a_file_is_empty(tmp_path: Path) -> None:
    assert texts(tmp_path / "none" / "0.log") == texts(tmp_path / "0.log", 3) == []


@pytest.mark.parametrize("block", [7, 64, 65536])
@pytest.mark.parametrize("tail", [None, 0, 1, 2, 6, 7, 13, 18, 19, 1000])
def test_the_end_of_a_rotated_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, tail: int | None
) -> None:
    monkeypatch.setattr(log_file, "BLOCK", block)
    numbers = [str(number) for number in range(40)]
    write(tmp_path / "0.log", numbers)
    kept = texts(tmp_path / "0.log")
    assert len(kept) == 31
    assert texts(tmp_path / "0.log", tail) == numbers[-31 if tail is None else 40 - min(tail, 31) :]


@pytest.mark.parametrize(
    ("written", "tail", "shown"),
    [
        (["a", "b|P", "c|P", "d", "e"], 2, ["b", "c", "d", "e"]),
        (["a", "b|P", "c"], 1, ["b", "c"]),
        (["a", "b|P", "c|P"], 1, ["b", "c"]),
        (["a", "b|P", "c|P"], 2, ["a", "b", "c"]),
        (["a|P"], 5, ["a"]),
    ],
)
def test_parts_count_as_one_line(tmp_path: Path, written: list[str], tail: int, shown: list[str]) -> None:
    write(tmp_path / "0.log", written)
    assert texts(tmp_path / "0.log", tail) == shown


def test_lines_of_other_programs_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "0.log").write_bytes(b"\x00garbage\n" + line("a") + b"\n" + line("b") + b"torn")
    assert texts(tmp_path / "0.log") == texts(tmp_path / "0.log", 2) == ["a", "b"]
    assert texts(tmp_path / "0.log", 1) == ["b"]


def test_a_reader_goes_on_after_rotations(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    numbers = [str(number) for number in range(60)]
    with closing(LogReader(path)) as reader:
        seen: list[str] = []
        for batch in (numbers[:1], numbers[1:3], numbers[3:20], numbers[20:45], numbers[45:]):
            write(path, batch)
            seen += read(reader)
        assert seen == numbers


def test_a_reader_that_is_too_slow_goes_on_with_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    numbers = [str(number) for number in range(100)]
    with closing(LogReader(path)) as reader:
        write(path, numbers[:2])
        assert read(reader) == ["0", "1"]
        write(path, numbers[2:])
        seen = read(reader)
    gap = seen.index("8") + 1  # the rest of its own file, which is removed by now
    assert seen[:gap] == numbers[2:9]
    assert seen[gap:] == texts(path) == numbers[-len(seen[gap:]) :]


def test_a_rotation_between_read_and_look_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    numbers = [str(number) for number in range(20)]
    write(path, numbers[:4])
    with closing(LogReader(path)) as reader:
        blocks = reader.blocks()
        seen = [one.text.decode() for one in next(blocks)]
        write(path, numbers[4:])
        seen += [one.text.decode() for block in blocks for one in block]
    assert seen == numbers


def test_a_file_that_has_gone_ends_the_log(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, ["a"])
    with closing(LogReader(path)) as reader:
        assert read(reader) == ["a"]
        path.unlink()
        assert read(reader) == []
        write(path, ["b"])
        assert read(reader) == ["b"]


def test_a_log_rotated_while_it_is_opened_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "0.log"
    write(path, ["a", "b"])
    calls = itertools.count()

    def rotated(of: Path) -> list[Path]:
        if not next(calls):
            path.rename(path.with_name("0.log.1"))
        return rotated_files(of)

    monkeypatch.setattr(log_file, "rotated", rotated)
    assert texts(path) == ["a", "b"]
