"""Files with whole lines, and their rotation."""

from __future__ import annotations

import errno
import multiprocessing
from pathlib import Path

import pytest

from wagi_gateway.observe import log_file
from wagi_gateway.observe.log_file import Rotation, append, rotated

TEN_BYTES = Rotation(10, 3)


def names(path: Path) -> list[str]:
    return [one.name for one in rotated(path)]


def test_a_file_is_rotated_before_it_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "0.log"
    for line in (b"one\n", b"two\n", b"three\n"):
        assert append(path, line, TEN_BYTES) == len(line)
    assert (path.read_text(), path.with_name("0.log.1").read_text()) == ("three\n", "one\ntwo\n")


def test_the_oldest_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    for number in range(20):
        append(path, b"line %d\n" % number, TEN_BYTES)
    assert names(path) == ["0.log.18", "0.log.19"]
    assert [file.read_text() for file in (*rotated(path), path)] == ["line 17\n", "line 18\n", "line 19\n"]


def test_a_piece_larger_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    for piece in (b"one\n", b"x" * 20 + b"\n", b"two\n"):
        append(path, piece, TEN_BYTES)
    assert [file.stat().st_size for file in (*rotated(path), path)] == [4, 21, 4]


def test_other_files_are_no_rotated_ones(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    for name in ("0.log.gz", "0.log.01", "0.log.1.gz", "10.log.1", "0.log.²", "0.log.", f"0.log.{10**20}", "1"):
        (tmp_path / name).touch()
    (tmp_path / "0.log.10").touch()
    (tmp_path / "0.log.9").touch()
    assert names(path) == ["0.log.9", "0.log.10"]


def test_a_file_that_is_always_replaced_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "_is_current", lambda *_: False)
    with pytest.raises(OSError, match="temporarily unavailable") as refused:
        append(tmp_path / "0.log", b"one\n", TEN_BYTES)
    assert refused.value.errno == errno.EAGAIN


def _append(path: Path, name: int) -> None:
    for number in range(200):
        append(path, b"%d %d\n" % (name, number), Rotation(512, 1000))


def test_processes_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append, args=(path, name)) for name in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = "".join(file.read_text() for file in (*rotated(path), path)).splitlines()
    for name in range(3):
        assert [line for line in lines if line.startswith(f"{name} ")] == [f"{name} {number}" for number in range(200)]
    assert max(file.stat().st_size for file in rotated(path)) <= 512
