"""`poll_oneoff`, WASI's sleep, in place of wasmtime's: one that ends with the guest's time.

wasmtime's own waits as long as the guest asks, and an epoch does not wake it. Source: WASI preview 1, `poll_oneoff`.
"""

from __future__ import annotations

import struct
import time

import wasmtime

from .host import Memory, OutOfBounds, define
from .invocation import Invocation

_SUCCESS, _FAULT, _INVALID = 0, 21, 28
_CLOCK, _FD_READ, _FD_WRITE = 0, 1, 2
_REALTIME, _MONOTONIC = 0, 1
_ABSOLUTE = 1

_SUBSCRIPTION = struct.Struct("<QB7xI4xQQH6x")  # userdata, tag, clock id or descriptor, timeout, precision, flags
_EVENT = struct.Struct("<QHB5xQH6x")  # userdata, errno, type, bytes ready, flags
_COUNT = struct.Struct("<I")
_MAX_SUBSCRIPTIONS = 128


def define_poll_oneoff(linker: wasmtime.Linker) -> None:
    """Replaces wasmtime's `poll_oneoff` in a linker that allows shadowing."""
    define(linker, "wasi_snapshot_preview1", "poll_oneoff", 4, _poll_oneoff, failed=_FAULT)


def _poll_oneoff(invocation: Invocation, memory: Memory | None, arguments: list[int]) -> int:
    subscriptions, events, count, written = arguments
    if not 0 < count <= _MAX_SUBSCRIPTIONS:
        return _INVALID
    if memory is None:
        return _FAULT
    try:
        wanted = memory.read(subscriptions, count * _SUBSCRIPTION.size)
        memory.check(events, count * _EVENT.size)
        memory.check(written, _COUNT.size)
    except OutOfBounds:
        return _FAULT
    happened = _poll(invocation, list(_SUBSCRIPTION.iter_unpack(wanted)))
    memory.write(events, b"".join(happened))
    memory.write(written, _COUNT.pack(len(happened)))
    return _SUCCESS


def _poll(invocation: Invocation, wanted: list[tuple[int, int, int, int, int, int]]) -> list[bytes]:
    """The events of the subscriptions, after waiting for the first clock if nothing is ready now."""
    # Standard input is a spooled body and files do not block, so a descriptor is always ready.
    ready = [_EVENT.pack(userdata, _SUCCESS, tag, 1, 0) for userdata, tag, *_ in wanted if tag in (_FD_READ, _FD_WRITE)]
    ready += [
        _EVENT.pack(userdata, _INVALID, tag, 0, 0)
        for userdata, tag, clock, *_ in wanted
        if tag > _FD_WRITE or (tag == _CLOCK and clock not in (_REALTIME, _MONOTONIC))
    ]
    if ready:
        return ready
    waits = [_nanoseconds(invocation, clock, timeout, flags) for _, _, clock, timeout, _, flags in wanted]
    first = min(waits)
    if first > 0:
        _sleep(invocation, first / 1e9)
    due = [subscription for subscription, wait in zip(wanted, waits, strict=True) if wait <= first]
    return [_EVENT.pack(userdata, _SUCCESS, _CLOCK, 0, 0) for userdata, *_ in due]


def _sleep(invocation: Invocation, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not invocation.must_stop() and (left := end - time.monotonic()) > 0:
        invocation.wait(left)  # it may be woken by what was meant for an earlier wait


def _nanoseconds(invocation: Invocation, clock: int, timeout: int, flags: int) -> int:
    """How long a clock subscription has to wait; wasmtime's monotonic clock starts with the guest."""
    if not flags & _ABSOLUTE:
        return timeout
    now = time.time_ns() if clock == _REALTIME else time.monotonic_ns() - invocation.started_ns
    return timeout - now
