"""The threads of guests: one for each guest that waits, and fewer when the load falls."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import threading
import weakref
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.clients import guest_that_calls
from tests.support.farm import Raw
from tests.support.sandbox import compiler, warm
from wagi_gateway.config.settings import Limits
from wagi_gateway.outbound import network
from wagi_gateway.outbound.client import OutboundClient
from wagi_gateway.outbound.deadline import CallDeadline
from wagi_gateway.outbound.destination import Address
from wagi_gateway.outbound.policy import Policy
from wagi_gateway.outbound.session import OutboundSession
from wagi_gateway.sandbox import sandbox
from wagi_gateway.sandbox.guest import Guest
from wagi_gateway.sandbox.invocation import Invocation
from wagi_gateway.sandbox.sandbox import Sandbox
from wagi_gateway.sandbox.threads import ThreadPool

GUESTS = 8


def test_guests_that_wait_for_each_other_all_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads exist at first, and the event loop is blocked, so that it starts no more of them."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    have_started, all_called = threading.Event(), threading.Barrier(GUESTS + 1)

    def dial(address: Address, port: int, deadline: CallDeadline) -> socket.socket:
        assert have_started.wait(10)
        return network.dial(address, port, deadline)

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        all_called.wait(10)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    async def main() -> list[Guest]:
        async with Sandbox(compiler().engine) as sandbox:
            ended = asyncio.Queue[None]()
            module = warm(guest_that_calls(target.url.encode()))
            running = []
            for _ in range(GUESTS):
                session = OutboundSession(client, lambda _: None)
                given = Invocation(module, b"_start", limits=Limits(), argv=[b"/"], environ={}, outbound=session)
                running.append(sandbox.start(given, on_end=lambda _: ended.put_nowait(None)))
            have_started.set()
            all_called.wait(10)
            for _ in running:
                await asyncio.wait_for(ended.get(), 10)
            for guest in running:
                guest.release()
            return running

    with Raw(answer) as target:
        client = OutboundClient(Policy([target.url]), Limits(), 1, dial=dial)
        running = asyncio.run(main())
        client.close()
    assert [guest.failure() for guest in running] == [None] * GUESTS


def test_idle_thread_keeps_nothing_of_its_last_job() -> None:
    """Otherwise the file of a module that a reload has replaced would stay open until the next request."""

    class Held:
        """What a job refers to."""

    pool = ThreadPool()
    has_run = threading.Event()
    held = Held()
    freed = threading.Event()
    weakref.finalize(held, freed.set)
    job = functools.partial(_use, held, has_run)
    del held
    pool.submit(job)
    del job
    assert has_run.wait(10)
    assert freed.wait(10)
    pool.close()


def _use(_: object, has_run: threading.Event) -> None:
    has_run.set()


def test_threads_of_a_burst_end_under_steady_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs keep every thread from being idle for long."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(sandbox, "_PEAK_WINDOW", 0.2)
    napping = warm(guests.sleeps(20_000_000, b"status: 204\n\n"))

    async def nap(running: Sandbox) -> None:
        ended = asyncio.Event()
        given = Invocation(napping, b"_start", limits=Limits(), argv=[b"/"], environ={})
        guest = running.start(given, on_end=lambda _: ended.set())
        await asyncio.wait_for(ended.wait(), 10)
        guest.release()

    def threads() -> int:
        return sum(thread.name == "guest" for thread in threading.enumerate()) - others

    async def main() -> None:
        async with Sandbox(compiler().engine) as running:
            await asyncio.gather(*(nap(running) for _ in range(GUESTS)))
            assert threads() >= GUESTS
            deadline = asyncio.get_running_loop().time() + 10
            while threads() > 2:
                assert asyncio.get_running_loop().time() < deadline, threads()
                await nap(running)

    others = 0
    others = threads()
    asyncio.run(main())


def test_the_epoch_thread_sleeps_while_no_guest_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_PEAK_WINDOW", 0.2)
    loops = warm('(module (func (export "_start") (loop (br 0))))')

    async def main() -> None:
        others = set(threading.enumerate())
        async with Sandbox(compiler().engine) as running:
            (ticker,) = (thread for thread in set(threading.enumerate()) - others if thread.name == "epoch")
            wake_ups = _wake_ups(ticker)
            async with asyncio.timeout(30):
                while await _wake_ups_in(ticker, 1.0) > 2:
                    pass
            assert wake_ups < _wake_ups(ticker)  # it was awake before
            ended = asyncio.Event()
            given = Invocation(loops, b"_start", limits=Limits(time="200ms"), argv=[b"/"], environ={})
            guest = running.start(given, on_end=lambda _: ended.set())
            await asyncio.wait_for(ended.wait(), 30)
            guest.release()
            assert guest.outcome
            assert (guest.outcome.kind, guest.stop_reason) == ("stopped", "time")

    asyncio.run(main())


async def _wake_ups_in(thread: threading.Thread, seconds: float) -> int:
    before = _wake_ups(thread)
    await asyncio.sleep(seconds)
    return _wake_ups(thread) - before


def _wake_ups(thread: threading.Thread) -> int:
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
