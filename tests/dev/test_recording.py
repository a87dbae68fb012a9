"""A recording: marks, standard error with times, and bounds of its lists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.recordings import recording
from wagi_gateway.dev import recording as recording_module
from wagi_gateway.outbound.client import Call
from wagi_gateway.sandbox.invocation import OpenedFile

CALL = Call("GET", "http://h", "answered", 200, "", 0.1, 0, 0, 0)


def test_the_first_mark_counts() -> None:
    one = recording()
    one.mark("sent")
    first = one.marks["sent"]
    one.mark("sent")
    assert one.marks["sent"] == first == one.seconds


def test_a_request_that_is_not_over_has_a_time() -> None:
    assert recording().seconds >= 0


def test_lists_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_module, "MAX_STDERR", 2)
    monkeypatch.setattr(recording_module, "MAX_CALLS", 2)
    monkeypatch.setattr(recording_module, "MAX_FILES", 2)
    one = recording()
    before = one.size
    for _ in range(5):
        one.feed_stderr(b"line\n")
        one.add_call(CALL)
        one.add_file(OpenedFile(b"/x", is_written=False, error=0))
    assert [piece.offset for piece in one.stderr_pieces] == [0, 5]
    assert one.stderr.content == b"line\n" * 5
    assert len(one.calls) == 2
    assert (len(one.files), one.file_count) == (2, 5)
    assert one.size > before


def test_the_texts_of_calls_count() -> None:
    one = recording()
    before = one.size
    one.add_call(replace(CALL, origin="http://" + "h" * 253, reason="r" * 500))
    assert one.size - before > 1000
