"""Log records: their fields, and text without control characters."""

from __future__ import annotations

import logging

import pytest

from wagi_gateway.observe.log_record import escape, fields_of


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain é 漢", "plain é 漢"),
        ("a\nb\rc", r"a\nb\rc"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\u202eabc", r"\u202eabc"),
        ("\u2028", r"\u2028"),
        ("\x00", r"\x00"),
    ],
)
def test_escape(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@pytest.mark.parametrize(("given", "fields"), [({"a": 1}, {"a": 1}), ("other", {}), (None, {})])
def test_fields_of_a_record(given: object, fields: dict[str, object]) -> None:
    record = logging.makeLogRecord({} if given is None else {"fields": given})
    assert fields_of(record) == fields
