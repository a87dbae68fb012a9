"""Times in the notation of the Kubernetes API."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from wagi_gateway.node import timestamps

AT = datetime(2026, 11, 30, 13, 0, 0, 5, timezone(timedelta(hours=1)))


def test_a_time_is_in_utc() -> None:
    assert timestamps.seconds(AT) == "2026-11-30T12:00:00Z"
    assert timestamps.microseconds(AT) == "2026-11-30T12:00:00.000005Z"


def test_a_time_is_now_by_default() -> None:
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", timestamps.seconds())
    assert abs(timestamps.parse(timestamps.microseconds()) - datetime.now(UTC)) < timedelta(minutes=1)


def test_what_is_written_is_read() -> None:
    assert timestamps.parse(timestamps.microseconds(AT)) == AT
