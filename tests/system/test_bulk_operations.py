"""Guests that fill, copy or allocate large memories: `limits.time` frees their places, and they delay nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from tests.conftest import Server, running
from tests.support import guests
from tests.support.clock import assert_within
from tests.support.config import guest

MEMORY = 1 << 30
PAGES = MEMORY >> 16
ALL = f"(i32.const {MEMORY})"
ALL_BUT_ONE = f"(i32.const {MEMORY - 1})"
GROW = f"(drop (memory.grow (i32.const {PAGES - 2})))"
OPERATIONS = {
    "fill": f"(memory.fill (i32.const 0) (i32.const 1) {ALL})",
    "fill_computed": "(memory.fill (i32.const 0) (i32.const 0) (i32.mul (memory.size) (i32.const 65536)))",
    "copy_up": f"(memory.copy (i32.const 1) (i32.const 0) {ALL_BUT_ONE})",
    "copy_down": f"(memory.copy (i32.const 0) (i32.const 1) {ALL_BUT_ONE})",
    "in_a_function": f"(call $fill {ALL})",
}
FILL = "(func $fill (param i32) (memory.fill (i32.const 0) (i32.const 7) (local.get 0)))"
TIMES = 1000
BOUND = 0.2
"""Seconds for which no module delays another route (docs/performance.md)."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("bulk")
    config = ""
    for name, operation in OPERATIONS.items():
        text = guests.if_argument(GROW + operation * TIMES, fields="").replace(
            "(func (export", FILL + " (func (export", 1
        )
        (directory / f"{name}.wat").write_text(text)
        config += guest(f"/{name}", name, time="1s", memory=MEMORY, concurrency=1, queue=0)
    with running(directory, config) as server:
        yield server


@pytest.mark.parametrize("is_quick_before", [False, True], ids=["cold", "quick"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_limits_time_ends_a_straight_line_of_large_operations(server: Server, name: str, is_quick_before: bool) -> None:
    for _ in range(30 * is_quick_before):
        assert server.get(f"/{name}").text == "hello\n"
    with ThreadPoolExecutor(1) as thread:
        begin = time.monotonic()
        answer: Future[httpx.Response] = thread.submit(httpx.get, f"{server.url}/{name}?attack", timeout=60)
        while not answer.done():
            asked = time.monotonic()
            assert server.get("/healthz").status_code == 200
            assert_within(time.monotonic() - asked, BOUND)
        assert answer.result().status_code == 504
        assert_within(time.monotonic() - begin, 1.5)
    # The place is free: there is one, and no queue.
    ended = time.monotonic()
    while server.get(f"/{name}").status_code == 503:
        assert_within(time.monotonic() - ended, BOUND)
    assert server.get(f"/{name}").text == "hello\n"
