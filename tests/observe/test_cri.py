"""The lines of a container's log."""

from __future__ import annotations

import logging

import pytest

from wagi_gateway.observe.cri import CriFormatter
from wagi_gateway.observe.log_record import GUEST


@pytest.mark.parametrize(
    ("text", "is_partial", "line"),
    [
        ("hello", False, "F hello"),
        ("", False, "F "),
        ("a part", True, "P a part"),
        ('{"a":\t"é b"}', False, 'F {"a":\t"é b"}'),
        ("\x1b[2J\r", False, r"F \x1b[2J\r"),
    ],
)
def test_a_line(text: str, is_partial: bool, line: str) -> None:
    record = logging.LogRecord(GUEST, logging.INFO, "", 0, "%s", (text,), None)
    record.created = 1796040000.5
    if is_partial:
        record.is_partial = True
    assert CriFormatter().format(record) == f"2026-11-30T12:00:00.500000000Z stderr {line}"
