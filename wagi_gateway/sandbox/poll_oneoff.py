"""The WASI function `poll_oneoff`, which sleeps, with the guest's deadline as a bound.

wasmtime's own `poll_oneoff` sleeps as long as the guest asks, and no epoch ends the sleep. Source: WASI preview 1,
`poll_oneoff`.
"""

from __future__ import annotations

import struct
import time

from . import errno
from .context import ExecutionContext
from .descriptors import is_open
from .memory import OutOfBounds
from .streams import STDERR, STDIN

_CLOCK, _FD_READ, _FD_WRITE = 0, 1, 2
_REALTIME, _MONOTONIC = 0, 1
_ABSOLUTE = 1

_SUBSCRIPTION = struct.Struct("<QB7xI4xQQH6x")  # userdata, tag, clock id or descriptor, timeout, precision, flags
_EVENT = struct.Struct("<QHB5xQH6x")  # userdata, errno, type, bytes ready, flags
_COUNT = struct.Struct("<I")
_MAX_SUBSCRIPTIONS = 128
_SUBSCRIPTIONS_PER_CALL = 2
"""Subscriptions that take as long as a host call."""


def poll_oneoff(context: ExecutionContext, subscriptions: int, events: int, count: int, written: int) -> int:
    """Waits until one of the subscriptions is ready, at most until the guest's deadline."""
    memory = context.memory
    if not 0 < count <= _MAX_SUBSCRIPTIONS:
        return errno.INVAL
    if memory is None:
        return errno.FAULT
    try:
        subscribed = memory.read(subscriptions, count * _SUBSCRIPTION.size)
        memory.check(events, count * _EVENT.size)
        memory.check(written, _COUNT.size)
    except OutOfBounds:
        return errno.FAULT
    context.count_host_calls(count // _SUBSCRIPTIONS_PER_CALL)
    occurred = _poll(context, list(_SUBSCRIPTION.iter_unpack(subscribed)))
    memory.write(events, b"".join(occurred))
    memory.write(written, _COUNT.pack(len(occurred)))
    return errno.SUCCESS


def _poll(context: ExecutionContext, subscribed: list[tuple[int, int, int, int, int, int]]) -> list[bytes]:
    """Returns the events of the subscriptions, after a sleep until the first clock if no subscription is ready."""
    ready = [
        _EVENT.pack(userdata, *_readiness(context, tag, clock), 0)
        for userdata, tag, clock, *_ in subscribed
        if tag != _CLOCK or clock not in (_REALTIME, _MONOTONIC)
    ]
    if ready:
        return ready
    waits = [_nanoseconds(context, clock, timeout, flags) for _, _, clock, timeout, _, flags in subscribed]
    first = min(waits)
    if first > 0:
        _sleep(context, first / 1e9)
    return [
        _EVENT.pack(userdata, errno.SUCCESS, _CLOCK, 0, 0)
        for (userdata, *_), wait in zip(subscribed, waits, strict=True)
        if wait <= first
    ]


def _readiness(context: ExecutionContext, tag: int, descriptor: int) -> tuple[int, int, int]:
    """Error number, type and ready bytes of an event that is no clock's. Standard input is a body that was received
    whole, a write waits by itself, and files do not block: every open descriptor is ready."""
    if tag not in (_FD_READ, _FD_WRITE):
        return errno.INVAL, tag, 0
    if not is_open(context, descriptor) and not (descriptor > STDERR and context.invocation.volumes):
        return errno.BADF, tag, 0
    is_stdin = descriptor <= STDERR and context.streams.descriptors[descriptor] == STDIN
    return errno.SUCCESS, tag, context.streams.stdin_left() if is_stdin else 1


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
