"""Load at a fraction of the gateway's capacity for a chosen time: no request fails, and memory does not grow."""

from __future__ import annotations

import re
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .city import TIMEOUT, City
from .load import Answer, Load, asks, read_log
from .usage import usage

_CONNECTIONS = 8
_MEASURE = 5
"""Seconds for which capacity and load are measured."""
_SAMPLE = 2.0
"""The interval of memory samples in seconds."""
_SLICE = 60.0
"""Seconds of load for each row."""
_RUN_IN = 300.0
"""Seconds of warm-up."""
_RUN_IN_RELOADS = 100
"""Reloads in that time: memory of guests that ran is kept for the next of the same module, up to 100 times (the default
of wasmtime's max_unused_warm_slots), so that each reload adds what a new module's guests use. Measured under load, with
a reload every half second: 92 MiB resident at first, 100 after 45 reloads, 101 after 90, 103 after 487; without load
102 after 246 and 105 after 2,747; with load and no reload the same after four minutes as in the first."""
_LEAST = 600.0
"""The least seconds of load after the warm-up for a verdict on memory."""
_DEVIATIONS = 3.0
"""The growth of memory that counts as noise, in standard deviations of the regression's residuals."""
_PAGES = 2 * 2**20
"""The growth in bytes that always counts as noise: two pools of the allocator."""


@dataclass(frozen=True, slots=True)
class Slope:
    """A regression of memory over time."""

    growth: float
    """The growth over the whole time, in bytes."""
    noise: float
    """The standard deviation of the residuals, in bytes."""

    @property
    def is_noise(self) -> bool:
        """Whether the slope is within the noise."""
        return self.growth <= max(_DEVIATIONS * self.noise, _PAGES)


def slope(samples: list[tuple[float, int]]) -> Slope:
    """The regression of memory in bytes over times in seconds."""
    times, sizes = zip(*samples, strict=True)
    line = statistics.linear_regression(times, sizes)
    left = [size - line.intercept - line.slope * at for at, size in samples]
    return Slope(line.slope * (times[-1] - times[0]), statistics.pstdev(left))


def capacity(city: City) -> float:
    """The gateway's maximum of requests per second, over all GET requests of the steady load."""
    output = subprocess.run([*_h2load(city), f"-D{_MEASURE}"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"finished in .*, ([\d.]+) req/s", output)
    assert found, output
    return float(found[1])


def own_rate(city: City) -> float:
    """Requests per second of the clients that check each response."""
    with Load(city) as load:
        began = time.monotonic()
        time.sleep(_MEASURE)
        seconds = time.monotonic() - began
    return (load.counted + sum(answer.client != "wrk" for answer in load.answers)) / seconds


def soak(city: City, minutes: float, rate: float, reload_every: float) -> list[str]:
    """Prints a row for each minute, and the slope; returns the problems. `rate` is a fraction of the capacity."""
    most, own = capacity(city), own_rate(city)
    rest = max(1.0, rate * most - own)
    print(f"capacity {most:.0f}/s, load {own + rest:.0f}/s, {own:.0f}/s of it by clients that look at each answer")
    logged = len(city.gateway.log)
    _, problems = _load(city, "running in, minute", _RUN_IN, rest, _RUN_IN / _RUN_IN_RELOADS)
    samples, more = _load(city, "minute", 60 * minutes, rest, reload_every)
    problems += more
    if "Traceback" in city.gateway.log[logged:]:
        problems.append("a traceback in the log")
    if 60 * minutes < _LEAST:
        print(f"memory: too short to say; it takes {_LEAST / 60:.0f} minutes")
        return problems
    found = slope(samples)
    print(f"memory: {found.growth / 2**20:+.2f} MiB in {minutes:g} minutes, noise {found.noise / 2**20:.2f} MiB")
    if not found.is_noise:
        problems.append("memory grows")
    return problems


def _load(
    city: City, title: str, seconds: float, rate: float, reload_every: float
) -> tuple[list[tuple[float, int]], list[str]]:
    """Memory over the time, and the problems; `rate` is the number of requests per second that h2load adds."""
    problems: list[str] = []
    end = time.monotonic() + seconds
    with _memory(city) as samples, _reloads(city, reload_every, problems) as reloads:
        number = 0
        while (left := end - time.monotonic()) > 1:
            number += 1
            answers, counted = _slice(city, rate, min(_SLICE, left))
            failed = [answer for answer in answers if answer.wrong]
            problems += [f"{title} {number}: {answer.client}: {answer.wrong}" for answer in failed[:5]]
            times = [answer.ended - answer.began for answer in answers if answer.client != "wrk"]
            p99 = statistics.quantiles(times, n=100)[98]
            print(
                f"{title} {number}: {counted:,} requests, {len(failed)} failed, p99 {p99 * 1000:.1f} ms, "
                f"{samples[-1][1] / 2**20:.1f} MiB, {len(reloads)} reloads",
                flush=True,
            )
    return samples, problems


def _h2load(city: City) -> list[str]:
    urls = [city.gateway.url + ask.path for ask in asks(city) if ask.body is None]
    return ["h2load", "--h1", f"-c{_CONNECTIONS}", f"-N{TIMEOUT:.0f}s", *urls]


def _slice(city: City, rate: float, seconds: float) -> tuple[list[Answer], int]:
    """The results of one row's requests, and their number."""
    log = city.directory / "soak.log"
    log.unlink(missing_ok=True)
    count = max(_CONNECTIONS, round(rate * seconds))
    with Load(city) as load:
        began = time.monotonic()
        command = [*_h2load(city), f"-n{count}", f"--rps={rate / _CONNECTIONS:.3f}", f"--log-file={log}"]
        subprocess.run(command, capture_output=True, timeout=2 * seconds + 60, check=False)
    answers = load.answers + read_log(log, count, began)
    return answers, load.counted + sum(answer.client != "wrk" for answer in answers)


@contextmanager
def _memory(city: City) -> Iterator[list[tuple[float, int]]]:
    """Samples the memory."""
    samples = [(time.monotonic(), usage(city).memory)]

    def look() -> None:
        samples.append((time.monotonic(), usage(city).memory))

    with _every(_SAMPLE, look):
        yield samples


@contextmanager
def _reloads(city: City, seconds: float, problems: list[str]) -> Iterator[list[float]]:
    """Changes a module and reloads, again and again; returns the times."""
    times: list[float] = []

    def reload() -> None:
        try:
            city.renewed()
        except Exception as error:  # noqa: BLE001 - it is a row of the report
            problems.append(f"reload: {type(error).__name__}: {error}")
        times.append(time.monotonic())

    with _every(seconds, reload):
        yield times


@contextmanager
def _every(seconds: float, call: Callable[[], None]) -> Iterator[None]:
    is_over = threading.Event()

    def work() -> None:
        while not is_over.wait(seconds):
            call()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
