"""Lint: what is doubtful about an answer."""

from __future__ import annotations

import pytest

from tests.support.recordings import recording
from wagi_gateway.dev.detail import parsed_output
from wagi_gateway.dev.lint import lint
from wagi_gateway.sandbox.invocation import Outcome

PLAIN = b"content-type: text/plain; charset=utf-8\n\nhi"
EXIT = Outcome("exit")


@pytest.mark.parametrize(
    ("stdout", "outcome", "words"),
    [
        (b"content-type: text/html\n\nh\xc3\xa9llo", EXIT, "no charset"),
        (b"content-type: html\n\nhi", EXIT, "no media type"),
        (b"status: 200\n\nhi", EXIT, "no Content-Type"),
        (b"content-type: a/b\nx-accel-redirect: /\n\n", EXIT, "not sent"),
        (PLAIN, Outcome("exit", 3), "code 3"),
        (PLAIN, Outcome("exit", memory=200 << 20), "200 of 256 MiB"),
    ],
)
def test_a_doubtful_answer(stdout: bytes, outcome: Outcome, words: str) -> None:
    one = recording(stdout=stdout, outcome=outcome)
    [text] = lint(one, parsed_output(one))
    assert words in text


def test_dropped_standard_error() -> None:
    one = recording(stdout=PLAIN)
    one.stderr_dropped = 7
    assert "7 bytes" in lint(one, parsed_output(one))[0]


@pytest.mark.parametrize("stdout", [PLAIN, b"content-type: text/html\n\nascii", b"location: /x\n\n"])
def test_a_good_answer(stdout: bytes) -> None:
    one = recording(stdout=stdout)
    assert lint(one, parsed_output(one)) == []


def test_no_guest_no_lint() -> None:
    one = recording(outcome=None)
    assert parsed_output(one) is None
    assert lint(one, None) == []
