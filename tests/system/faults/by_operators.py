"""Faults of operators: processes, signals, configurations."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx

from tests.conftest import wait_until

from .city import TIMEOUT, City
from .fault import Affected


def a_worker_is_killed(city: City) -> Affected:
    """SIGKILL ends one worker; the supervisor replaces it."""
    worker = city.serving()[-1]
    since = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: _is_dead(worker))
    until = time.monotonic()
    wait_until(
        lambda: worker not in city.serving() and len(city.serving()) == city.workers and _is_ready(city), TIMEOUT
    )
    return Affected(since, until, frozenset({502}))


def a_storm_of_hangups(city: City) -> None:
    """A hundred SIGHUPs while modules change: the last state is served."""
    answer = b""
    for number in range(100):
        if number % 10 == 0:
            answer = city.change()
        city.hang_up()
        time.sleep(0.005)
    wait_until(lambda: city.gateway.get("/changing").content == answer, TIMEOUT)
    city.reload()
    for _ in range(2 * city.workers):
        assert city.gateway.get("/changing").content == answer


def a_broken_configuration(city: City) -> None:
    """A mistake changes nothing and is reported; the corrected file is served."""
    right = city.config()
    try:
        for broken, reason in (
            ('[limits]\ntime = "soon"\n' + right, "limits"),
            (right.replace("hello.wat", "absent.wat"), "absent.wat"),
            ("", "module"),
        ):
            city.write(broken)
            log = city.reload("not reloaded: ")
            assert reason in log, log
            assert city.gateway.get("/hello").status_code == 200
    finally:
        city.write(right)
    city.renewed()


def _is_dead(pid: int) -> bool:
    """Whether the process and all its threads have ended, and so its connections."""
    try:
        is_zombie = "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
        return is_zombie and len(os.listdir(f"/proc/{pid}/task")) == 1
    except OSError:
        return True


def _is_ready(city: City) -> bool:
    return httpx.get(f"{city.admin}/readyz", trust_env=False, timeout=30).status_code == 200
