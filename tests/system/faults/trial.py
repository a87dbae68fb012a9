"""One fault under steady load, and its outcome."""

from __future__ import annotations

import contextlib
import statistics
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx
import pytest

from tests.conftest import wait_until
from tests.support.attacks import together
from wagi_gateway.compiler.engine import MAX_WASM_STACK

from .city import IDLE_PIPES, TIMEOUT, City
from .fault import Affected, Fault
from .load import UNDER_WAY, Answer, Load
from .usage import MEMORY_NOISE, THREADS_NOISE, Usage, descriptors, usage

_THREADS_END = 30.0
"""Seconds until idle threads have ended; the sandbox checks every ten seconds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the table."""

    fault: str
    seconds: float
    requests: int
    """Number of requests of the steady load."""
    failed: int
    affected: int
    """Number of failures that the fault excuses, not included in `failed`."""
    calm: float
    """p99 in seconds before the fault."""
    stressed: float
    """p99 in seconds during the fault."""
    before: Usage
    after: Usage
    problems: tuple[str, ...]
    """The problems; empty for a passed trial."""


def warm_up(city: City) -> Usage:
    """Makes the gateway allocate its permanent resources; returns the usage, which is the limit from then on."""
    city.renewed()  # a module from the cache keeps its file open, a module compiled at the start does not
    with Load(city):
        time.sleep(1)
        samples = [usage(city) for _ in _ticks(0.5)]
        _fill_pipes(city)
    rest = _at_rest(city)
    return replace(
        rest,
        pipes=4 * (IDLE_PIPES + 16) * city.workers,
        memory=max(sample.memory for sample in samples),
        threads=max(sample.threads for sample in samples),
    )


def trial(city: City, fault: Fault, before: Usage, calm: float) -> Outcome:
    """Injects a fault after `calm` seconds of load alone; `before` is the usage allowed afterwards."""
    logged = len(city.gateway.log)
    problems: list[str] = []
    affected: Affected | None = None
    after = before
    with Load(city) as load:
        time.sleep(calm)
        began = time.monotonic()
        try:
            affected = fault.inflict(city)
        except Exception as error:  # noqa: BLE001 - the row says so
            problems.append("".join(traceback.format_exception(error)))
        ended = time.monotonic()
        _fill_pipes(city)
        deadline = time.monotonic() + TIMEOUT
        while not (after := usage(city)).is_within(_limit(city, before, after)) and time.monotonic() < deadline:
            time.sleep(0.02)
    limit = _limit(city, before, after)
    excused, failed = judge(load.answers, affected)
    problems += [f"{answer.client}: {answer.wrong}" for answer in failed[:5]]
    if not after.is_within(limit):
        problems.append(f"not given back: {after} in place of {limit}")
    if city.gateway.process.poll() is not None:
        problems.append(f"the gateway has ended with {city.gateway.process.returncode}")
    if "Traceback" in city.gateway.log[logged:]:
        problems.append("a traceback in the log:\n" + city.gateway.log[logged:][-3000:])
    return Outcome(
        fault.name,
        ended - began,
        load.counted + sum(answer.client != "wrk" for answer in load.answers),
        len(failed),
        len(excused),
        _p99([answer for answer in load.answers if answer.ended <= began]),
        _p99([answer for answer in load.answers if answer.ended > began and answer.began < ended]),
        before,
        after,
        tuple(problems),
    )


def judge(answers: list[Answer], affected: Affected | None) -> tuple[list[Answer], list[Answer]]:
    """The failures that a fault excuses, for each client at most its requests in progress, and all other failures."""
    left = dict(UNDER_WAY)
    excused, failed = [], []
    for answer in answers:
        if affected and affected.has(answer) and left[answer.client]:
            left[answer.client] -= 1
            excused.append(answer)
        elif answer.wrong:
            failed.append(answer)
    return excused, failed


def _limit(city: City, before: Usage, after: Usage) -> Usage:
    """The usage allowed directly after a fault: threads, with the stacks of their guests, end later."""
    memory = before.memory + MEMORY_NOISE * city.workers + MAX_WASM_STACK * after.threads
    return replace(before, memory=memory, threads=after.threads)


def settle(city: City, before: Usage) -> None:
    """Waits until all resources of faults are released: threads even under load, every descriptor without load."""
    memory = before.memory + MEMORY_NOISE * city.workers
    limit = replace(before, memory=memory, threads=before.threads + THREADS_NOISE * city.workers)
    with Load(city):
        wait_until(lambda: usage(city).is_within(limit), _THREADS_END, lambda: f"{usage(city)}, not {limit}")

    def is_back() -> bool:
        city.renewed()  # as before the first fault
        return _at_rest(city).is_within(limit)

    wait_until(is_back, TIMEOUT, lambda: f"{usage(city)}, not {limit}\n{descriptors(city)}")


def _at_rest(city: City) -> Usage:
    """The usage when it no longer changes."""
    seen: list[Usage] = []

    def is_steady() -> bool:
        seen.append(usage(city))
        return len({sample.descriptors for sample in seen[-30:]}) == 1 and len(seen) >= 30

    wait_until(is_steady, TIMEOUT)
    return seen[-1]


def _fill_pipes(city: City) -> None:
    """Uses all kept pipes of guests at once, so that missing ones are created again and counted."""
    try:
        statuses = together(IDLE_PIPES, lambda _: city.gateway.get("/nap", timeout=TIMEOUT).status_code)
    except httpx.TimeoutException:
        pytest.fail(f"a request has no response:\n{descriptors(city)}")
    assert set(statuses) == {200}


def _ticks(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.01)


def _p99(answers: list[Answer]) -> float:
    times = [answer.ended - answer.began for answer in answers if answer.client != "wrk"]
    with contextlib.suppress(statistics.StatisticsError):
        return statistics.quantiles(times, n=100)[98]
    return 0.0
