"""Times as the Kubernetes API writes them: RFC 3339 in UTC, with seconds (Time) or microseconds (MicroTime)."""

from __future__ import annotations

from datetime import UTC, datetime


def seconds(at: datetime | None = None) -> str:
    """A Time, by default now: `2026-11-30T12:00:00Z`."""
    return (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def microseconds(at: datetime | None = None) -> str:
    """A MicroTime, by default now: `2026-11-30T12:00:00.123456Z`."""
    return (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(text: str) -> datetime:
    """A Time or MicroTime. Raises ValueError."""
    return datetime.fromisoformat(text)
