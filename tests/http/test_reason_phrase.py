"""The reason phrase of a status code."""

from __future__ import annotations

import pytest

from wagi_gateway.http.reason_phrase import reason_phrase


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (200, "OK"),
        (404, "Not Found"),
        (413, "Content Too Large"),
        (414, "URI Too Long"),
        (416, "Range Not Satisfiable"),
        (422, "Unprocessable Content"),
        (431, "Request Header Fields Too Large"),
        (499, ""),
        (599, ""),
    ],
)
def test_reason_phrase(status: int, phrase: str) -> None:
    assert reason_phrase(status) == phrase
