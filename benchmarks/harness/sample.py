"""What one turn of a measurement has found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """What a load has done."""

    count: int
    """Requests, or MiB of a stream."""
    rate: float
    """Of these in a second."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The rate of a server under a load, and what each request, or MiB, took of the processor."""

    rate: float
    """In a second."""
    cost: float
    """Microseconds in user and in system mode; NaN if the kernel does not know."""
