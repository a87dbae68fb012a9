"""The options of `kubectl logs`: the query of `/containerLogs` (PodLogOptions of core/v1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_BOOLEANS = {"true": True, "1": True, "": True, "false": False, "0": False}
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class InvalidLogOptions(ValueError):
    """An option has a value that no option can have, or cannot have beside another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """Which lines of a log are shown, and how."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: bytes = b""
    """The time of the first line, as in a log: lines from then on are shown."""
    tail: int | None = None
    limit: int | None = None
    """Bytes that are shown at most."""

    @classmethod
    def of(cls, query: Mapping[str, str], now: datetime) -> LogOptions:
        """The options of a query; other parameters are ignored. Raises InvalidLogOptions."""
        seconds, time = _integer(query, "sinceSeconds", least=1), query.get("sinceTime")
        if seconds is not None and time is not None:
            raise InvalidLogOptions("at most one of sinceTime or sinceSeconds may be specified")
        if query.get("stream", "All") != "All":
            raise InvalidLogOptions(f'stream: "{query["stream"]}": a module has standard error alone; leave it out')
        since = b"" if time is None else _since(time)
        return cls(
            follow=_boolean(query, "follow"),
            previous=_boolean(query, "previous"),
            timestamps=_boolean(query, "timestamps"),
            since=since if seconds is None else _before(now, seconds),
            tail=_integer(query, "tailLines", least=0),
            limit=_integer(query, "limitBytes", least=1),
        )


def _boolean(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "false")
    if text.lower() not in _BOOLEANS:
        raise InvalidLogOptions(f'{name}: "{text}": write true or false')
    return _BOOLEANS[text.lower()]


def _integer(query: Mapping[str, str], name: str, *, least: int) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not _INTEGER.fullmatch(text):
        raise InvalidLogOptions(f'{name}: "{text}": write a whole number')
    if int(text) < least:
        raise InvalidLogOptions(f'{name}: "{text}": must be at least {least}')
    return int(text)


def _since(text: str) -> bytes:
    """A time of RFC 3339, as in a log: in UTC and with nine digits of the second."""
    match = _TIME.fullmatch(text)
    try:
        if not match:
            raise ValueError
        zone = "+00:00" if match[4] in "Zz" else match[4]
        time = datetime.fromisoformat(f"{match[1]}T{match[2]}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidLogOptions(f'sinceTime: "{text}": write a time such as 2026-11-30T12:00:00Z') from None
    return f"{time:%Y-%m-%dT%H:%M:%S}.{(match[3] or '').ljust(9, '0')}Z".encode()


def _before(now: datetime, seconds: int) -> bytes:
    try:
        return f"{now - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.%f}000Z".encode()
    except OverflowError:
        return b""
