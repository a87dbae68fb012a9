"""The query of `/containerLogs`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wagi_gateway.node.server.log_options import InvalidLogOptions, LogOptions

NOW = datetime(2026, 11, 30, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ({}, LogOptions()),
        (
            {"follow": "true", "previous": "1", "timestamps": ""},
            LogOptions(follow=True, previous=True, timestamps=True),
        ),
        ({"follow": "False", "unknown": "x", "stream": "All"}, LogOptions()),
        ({"tailLines": "0", "limitBytes": "1"}, LogOptions(tail=0, limit=1)),
        ({"sinceSeconds": "60"}, LogOptions(since=b"2026-11-30T11:59:00.250000000Z")),
        ({"sinceSeconds": "9" * 17}, LogOptions()),
        ({"sinceTime": "2026-11-30T13:00:00+01:00"}, LogOptions(since=b"2026-11-30T12:00:00.000000000Z")),
        ({"sinceTime": "2026-11-30t12:00:00.12345678912z"}, LogOptions(since=b"2026-11-30T12:00:00.123456789Z")),
    ],
)
def test_options(query: dict[str, str], options: LogOptions) -> None:
    assert LogOptions.of(query, NOW) == options


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"tailLines": "-1"}, 'tailLines: "-1": must be at least 0'),
        ({"tailLines": "x"}, 'tailLines: "x": write a whole number'),
        ({"tailLines": ""}, 'tailLines: "": write a whole number'),
        ({"tailLines": "9" * 5000}, "write a whole number"),
        ({"tailLines": "²"}, "write a whole number"),
        ({"limitBytes": "0"}, 'limitBytes: "0": must be at least 1'),
        ({"sinceSeconds": "0"}, 'sinceSeconds: "0": must be at least 1'),
        ({"sinceSeconds": "1", "sinceTime": "x"}, "at most one of sinceTime or sinceSeconds"),
        ({"sinceTime": "yesterday"}, 'sinceTime: "yesterday": write a time such as'),
        ({"sinceTime": "2026-02-30T00:00:00Z"}, "write a time such as"),
        ({"sinceTime": "0001-01-01T00:00:00+23:00"}, "write a time such as"),
        ({"sinceTime": "2026-11-30T12:00:00"}, "write a time such as"),
        ({"follow": "maybe"}, 'follow: "maybe": write true or false'),
        ({"stream": "Stdout"}, 'stream: "Stdout": a module has standard error alone'),
    ],
)
def test_invalid_options(query: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidLogOptions) as refused:
        LogOptions.of(query, NOW)
    assert words in str(refused.value)
