"""The WASI function `poll_oneoff`, which sleeps, with the guest's deadline as a bound.

wasmtime's own `poll_oneoff` sleeps as long as the guest asks, and no epoch ends the sleep. Source: WASI preview 1,
`poll_oneoff`.
"""

from __future__ import annotations

import struct
import time

from .context import ExecutionContext
from .host import HostImport, Memory, OutOfBounds

_SUCCESS, _FAULT, _INVALID = 0, 21, 28
_CLOCK, _FD_READ, _FD_WRITE = 0, 1, 2
_REALTIME, _MONOTONIC = 0, 1
_ABSOLUTE = 1

_SUBSCRIPTION = struct.Struct("<QB7xI4xQQH6x")  # userdata, tag, clock id or descriptor, timeout, precision, flags
_EVENT = struct.Struct("<QHB5xQH6x")  # userdata, errno, type, bytes ready, flags
_COUNT = struct.Struct("<I")
_MAX_SUBSCRIPTIONS = 128


def _poll_oneoff(context: ExecutionContext, memory: Memory | None, arguments: list[int]) -> int:
    subscriptions, events, count, written = arguments
    if not 0 < count <= _MAX_SUBSCRIPTIONS:
        return _INVALID
    if memory is None:
        return _FAULT
    try:
        subscribed = memory.read(subscriptions, count * _SUBSCRIPTION.size)
        memory.check(events, count * _EVENT.size)
        memory.check(written, _COUNT.size)
    except OutOfBounds:
        return _FAULT
    occurred = _poll(context, list(_SUBSCRIPTION.iter_unpack(subscribed)))
    memory.write(events, b"".join(occurred))
    memory.write(written, _COUNT.pack(len(occurred)))
    return _SUCCESS


def _poll(context: ExecutionContext, subscribed: list[tuple[int, int, int, int, int, int]]) -> list[bytes]:
    """Returns the events of the subscriptions, after a sleep until the first clock if no subscription is ready."""
    # Standard input is a spooled body and files do not block, so every descriptor is ready.
    ready = [
        _EVENT.pack(userdata, _SUCCESS, tag, 1, 0) for userdata, tag, *_ in subscribed if tag in (_FD_READ, _FD_WRITE)
    ]
    ready += [
        _EVENT.pack(userdata, _INVALID, tag, 0, 0)
        for userdata, tag, clock, *_ in subscribed
        if tag > _FD_WRITE or (tag == _CLOCK and clock not in (_REALTIME, _MONOTONIC))
    ]
    if ready:
        return ready
    waits = [_nanoseconds(context, clock, timeout, flags) for _, _, clock, timeout, _, flags in subscribed]
    first = min(waits)
    if first > 0:
        _sleep(context, first / 1e9)
    return [
        _EVENT.pack(userdata, _SUCCESS, _CLOCK, 0, 0)
        for (userdata, *_), wait in zip(subscribed, waits, strict=True)
        if wait <= first
    ]


def _sleep(context: ExecutionContext, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not context.must_stop() and (left := end - time.monotonic()) > 0:
        context.wait(left)  # a wake() for an earlier wait may end this one


def _nanoseconds(context: ExecutionContext, clock: int, timeout: int, flags: int) -> int:
    """Returns the nanoseconds until a clock subscription is due; wasmtime's monotonic clock starts with the guest."""
    if not flags & _ABSOLUTE:
        return timeout
    now = time.time_ns() if clock == _REALTIME else time.monotonic_ns() - context.started_ns
    return timeout - now


POLL_ONEOFF = HostImport("wasi_snapshot_preview1", "poll_oneoff", 4, _poll_oneoff, failed=_FAULT)
