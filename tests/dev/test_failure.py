"""How a guest has failed, as the page and the terminal show it."""

from __future__ import annotations

from pathlib import Path

from tests.support.recordings import head, recording
from wagi_gateway.dev.failure import ShownFrame, diagnosis, frames
from wagi_gateway.dev.masks import MASK, Masks
from wagi_gateway.dev.source_lines import SourceLine
from wagi_gateway.observe.diagnosis import NO_LINES, NO_NAMES
from wagi_gateway.sandbox.backtrace import Frame
from wagi_gateway.sandbox.invocation import Outcome

SECRET = b"abcdefgh"


def test_frames_have_their_sources(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("one\ntwo\n")
    trap = Outcome("trap", frames=(Frame("f", "a.c", 2, 5, is_inlined=True), Frame("g", "/lib/b.c", 7), Frame("main")))
    assert frames(recording(outcome=trap), tmp_path) == [
        ShownFrame("f", "a.c", 2, 5, True, [SourceLine(1, "one"), SourceLine(2, "two"), SourceLine(3, "")]),
        ShownFrame("g", "b.c", 7, None, False, []),
        ShownFrame("main", "", None, None, False, []),
    ]
    assert frames(recording(outcome=None), tmp_path) == []


def test_what_a_backtrace_lacks() -> None:
    advice = [
        diagnosis(recording(outcome=Outcome("trap", frames=found)), Masks()).advice
        for found in ((Frame("f", "a.c", 2), Frame("g")), (Frame("f"),), (Frame("<wasm function 3>"),), ())
    ]
    assert advice == ["", NO_LINES, NO_NAMES, ""]


def test_refused_output_is_masked_and_its_place_with_it() -> None:
    one = recording(head(fields=[(b"cookie", b"a=" + SECRET)]), stdout=SECRET + b"\nno header")
    one.refused_at = len(SECRET) + 1
    found = diagnosis(one, Masks.of(one)).output
    assert found is not None
    assert (found.beginning, found.beginning[found.offset :]) == (MASK + b"\nno header", b"no header")
    one.refused_at = None
    assert diagnosis(one, Masks.of(one)).output is None
