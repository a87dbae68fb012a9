"""A server whose guests call WASI at random: it answers others meanwhile, and nothing is left."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx

from tests.conftest import Server, running, wait_until
from tests.support.config import module
from tests.support.wasi import edge_arguments
from tests.support.wasi_driver import NAMES, driver, script

LIMITS = {"time": "200ms", "stdout": "1MiB", "stderr": "64KiB", "files": 8, "concurrency": 4}
CLIENTS = 4


def random_script(chance: random.Random) -> bytes:
    """A few calls, or one call many times."""
    names = [name for name in NAMES if name not in ("proc_exit", "proc_raise")]
    calls = [(name, edge_arguments(name, chance)) for name in chance.choices(names, k=chance.randrange(1, 30))]
    return script(calls * chance.choice((1, 1, 1, 20)))[: 32 * 1024]


def call_at_random(server: Server, seconds: float, seed: int) -> tuple[int, list[float]]:
    """Requests with random scripts from CLIENTS clients; their number, and the seconds of `/healthz` meanwhile."""
    end = time.monotonic() + seconds

    def calls(number: int) -> int:
        chance, count = random.Random(f"{seed}.{number}"), 0
        with httpx.Client() as client:
            while time.monotonic() < end:
                path = chance.choice(("/wasi", "/files"))
                with suppress(httpx.RemoteProtocolError):  # a guest that fails after its header block
                    answer = client.post(server.url + path, content=random_script(chance), timeout=30)
                    assert answer.status_code in (200, 500, 502, 504), answer.text
                count += 1
        return count

    waits = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        running_calls = [pool.submit(calls, number) for number in range(CLIENTS)]
        while time.monotonic() < end:
            begin = time.monotonic()
            assert server.get("/healthz").status_code == 200
            waits.append(time.monotonic() - begin)
            time.sleep(0.01)  # the rate of the probe
        return sum(each.result() for each in running_calls), waits


def serve_drivers(directory: Path) -> str:
    """The configuration of two routes, one with a volume."""
    (directory / "driver.wat").write_text(driver())
    volumes = {"/": {"temporary": "files"}}
    return "".join(
        (
            module("/wasi", "driver.wat", limits=LIMITS),
            module("/files", "driver.wat", limits=LIMITS, volumes=volumes),
        )
    )


def test_random_calls(tmp_path: Path, cache: Path) -> None:
    with running(tmp_path, serve_drivers(tmp_path), cache=cache) as server:
        server.get("/healthz")
        call_at_random(server, 1, seed=0)  # threads and connections are there
        descriptors, memory = server.descriptors(), server.memory()
        count, waits = call_at_random(server, 5, seed=1)
        assert count > 20
        assert sorted(waits)[len(waits) // 2] < 0.2
        wait_until(lambda: server.descriptors() <= descriptors + CLIENTS)
        assert server.memory() < memory + 64 * 2**20
        assert "a host function failed" not in server.log
        assert "Traceback" not in server.log
