"""One guest at a time: every kind of end."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import struct
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.sandbox import compiler, invocation, run
from wagi_gateway.errors import AtCapacity
from wagi_gateway.outbound.client import OutboundClient
from wagi_gateway.outbound.policy import Policy
from wagi_gateway.outbound.session import OutboundSession
from wagi_gateway.sandbox.sandbox import Sandbox


def test_output() -> None:
    output, guest = run(invocation(guests.HELLO))
    assert output.endswith(b"hello world\n")
    assert guest.is_complete
    assert guest.failure() is None


@pytest.mark.parametrize(
    ("wat", "failure"),
    [
        (guests.exits(0), None),
        (guests.exits(3), "the guest exited with code 3"),
        (guests.TRAP, "trap: wasm `unreachable` instruction executed"),
        (guests.STACK_OVERFLOW, "trap: call stack exhausted"),
        (guests.LOOP, "the guest ran into limits.time (0.2 s)"),
        (guests.SLEEP, "the guest ran into limits.time (0.2 s)"),
        (guests.ENDLESS_STDOUT, "the guest printed more than limits.stdout (1000000 bytes)"),
        (guests.ENDLESS_STDERR, "the guest ran into limits.time (0.2 s)"),
    ],
)
def test_ends(wat: str, failure: str | None) -> None:
    # A busy machine may need more time for a million bytes.
    time = 0.2 if failure and "limits.time" in failure else 20
    _, guest = run(invocation(wat, time=time, stdout=1_000_000))
    assert guest.failure() == failure


def test_memory_is_bounded() -> None:
    _, guest = run(invocation(guests.MEMORY_BOMB, memory="32MiB"))
    assert guest.failure() == "trap: wasm `unreachable` instruction executed"


def test_a_blocked_guest_is_stopped() -> None:
    async def main() -> str | None:
        async with Sandbox(compiler().engine) as sandbox:
            ended = asyncio.Event()
            guest = sandbox.start(invocation(guests.ENDLESS_STDOUT, time=0.2), on_end=lambda _: ended.set())
            await asyncio.wait_for(ended.wait(), 2)  # no reader
            return guest.failure()

    assert asyncio.run(main()) == "the guest ran into limits.time (0.2 s)"


@pytest.mark.parametrize("wat", [guests.LOOP, guests.SLEEP, guests.ENDLESS_STDOUT, guests.ENDLESS_STDERR])
def test_closing_ends_every_guest(wat: str) -> None:
    async def main() -> list[str | None]:
        async with Sandbox(compiler().engine) as sandbox:
            slow = asyncio.Event()
            running = [sandbox.start(invocation(wat), on_slow=slow.set) for _ in range(3)]
            await slow.wait()
        return [guest.failure() for guest in running]

    assert asyncio.run(asyncio.wait_for(main(), 5)) == ["the server is stopping"] * 3


def test_no_output_of_an_ended_guest_is_anothers() -> None:
    async def main() -> None:
        async with Sandbox(compiler().engine) as sandbox:
            for wat in (guests.HELLO, guests.TRAP, guests.ENDLESS_STDOUT, guests.exits(1, b"x" * 100_000)):
                guest = sandbox.start(invocation(wat, time=0.1))
                await guest.read()
                guest.release()
                output = b""
                guest = sandbox.start(invocation(guests.HELLO))
                while data := await guest.read():
                    output += data
                assert output == guests.CONTENT_TYPE + b"hello world\n"
                guest.release()

    asyncio.run(main())


def test_descriptors_are_given_back() -> None:
    loaded = [invocation(wat, time=0.1) for wat in (guests.HELLO, guests.LOOP, guests.ENDLESS_STDOUT)]
    gc.disable()  # descriptors are closed at once, not by the next collection
    try:
        before = len(os.listdir("/proc/self/fd"))
        for given in loaded:
            run(given)
        assert len(os.listdir("/proc/self/fd")) <= before
    finally:
        gc.enable()


@pytest.mark.parametrize("path", ["hot"], indirect=True)
def test_a_guest_needs_no_descriptor() -> None:
    async def main() -> None:
        async with Sandbox(compiler().engine) as sandbox:
            given = invocation(guests.HELLO, stdin=b"body")
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                with pytest.raises(OSError, match="Too many open files"):
                    os.dup(0)
                guest = sandbox.start(given)
                assert (await guest.read()).endswith(b"hello world\n")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    asyncio.run(main())


def test_no_thread_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        async with Sandbox(compiler().engine) as sandbox:
            given = invocation(guests.HELLO)
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", refuse)
                with pytest.raises(AtCapacity, match="can't start new thread"):
                    sandbox.start(given)
            assert (await sandbox.start(given).read()).endswith(b"hello world\n")

    asyncio.run(main())


def test_guests_that_call_out_are_stopped_when_descriptors_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> list[str | None]:
        async with Sandbox(compiler().engine) as sandbox:
            ended = asyncio.Queue[None]()
            caller, other = invocation(guests.LOOP), invocation(guests.LOOP, time=0.3)
            session = OutboundSession(OutboundClient(Policy(()), caller.limits, 1), lambda _: None)
            caller = replace(caller, outbound=session)
            running = [sandbox.start(given, on_end=lambda _: ended.put_nowait(None)) for given in (caller, other)]
            for _ in running:
                await asyncio.wait_for(ended.get(), 5)
            for guest in running:
                guest.release()
            return [guest.stop_reason for guest in running]

    monkeypatch.setattr(resource, "getrlimit", lambda _: (2, 2))
    assert asyncio.run(main()) == ["descriptors", "time"]


def test_stderr_is_live_and_limited() -> None:
    seen: list[bytes] = []
    _, guest = run(invocation(guests.ENDLESS_STDERR, on_stderr=seen.append, time=0.3, stderr=100_000))
    assert sum(map(len, seen)) == 100_000
    assert guest.stderr_dropped > 0


CAT = f"""(module {guests.FD_READ} {guests.FD_WRITE} (memory (export "memory") 1)
 (func (export "_start") (loop $more
  (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 4096))
  (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
  (i32.store (i32.const 4) (i32.load (i32.const 8)))
  (if (i32.load (i32.const 8)) (then
   (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12))) (br $more))))))"""


@pytest.mark.parametrize("body", [b"", b"abc", bytes(range(256)) * 8192], ids=["empty", "short", "2 MiB"])
@pytest.mark.parametrize("kind", ["bytes", "file"])
def test_stdin(tmp_path: Path, body: bytes, kind: str) -> None:
    path = tmp_path / "body"
    path.write_bytes(body)
    with path.open("rb") as file:
        output, _ = run(invocation(CAT, stdin=body if kind == "bytes" else file.fileno()))
    assert output == body


def poll(*subscriptions: bytes, count: int | None = None) -> str:
    """A guest that prints poll_oneoff's errno, the number of events and the first event."""
    data = b"".join(subscriptions)
    return f"""(module {guests.FD_WRITE} {guests.POLL} (memory (export "memory") 1)
     (data (i32.const 1024) {guests.wat_string(data)})
     (func (export "_start")
      (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 40))
      (i32.store (i32.const 16) (call $poll (i32.const 1024) (i32.const 24) (i32.const
       {len(subscriptions) if count is None else count}) (i32.const 20)))
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


def clock(userdata: int, nanoseconds: int, *, clock_id: int = 1, absolute: bool = False) -> bytes:
    return struct.pack("<QB7xI4xQQH6x", userdata, 0, clock_id, nanoseconds, 0, absolute)


def descriptor(userdata: int, tag: int, number: int) -> bytes:
    return struct.pack("<QB7xI28x", userdata, tag, number)


@pytest.mark.parametrize(
    ("wat", "answer"),
    [
        (poll(clock(7, 1)), (0, 1, 7, 0, 0)),
        (poll(clock(7, 10**9), clock(8, 1)), (0, 1, 8, 0, 0)),
        (poll(clock(7, 1, absolute=True)), (0, 1, 7, 0, 0)),
        (poll(clock(7, 1, clock_id=0, absolute=True)), (0, 1, 7, 0, 0)),
        (poll(clock(7, 10**12), descriptor(9, 1, 0)), (0, 1, 9, 0, 1)),
        (poll(descriptor(9, 2, 1)), (0, 1, 9, 0, 2)),
        (poll(clock(7, 1, clock_id=9)), (0, 1, 7, 28, 0)),
        (poll(), (28, 0, 0, 0, 0)),
        (poll(clock(7, 1), count=5000), (28, 0, 0, 0, 0)),
        (poll(clock(7, 1), count=-1), (28, 0, 0, 0, 0)),
        (poll(clock(7, 1), count=100).replace("$poll (i32.const 1024)", "$poll (i32.const 65000)"), (21, 0, 0, 0, 0)),
    ],
    ids=(
        "relative|first of two|past|past realtime|stdin is ready|stdout is ready|no such clock|none|too many|negative"
        "|out of memory"
    ).split("|"),
)
def test_poll_oneoff(wat: str, answer: tuple[int, ...]) -> None:
    output, _ = run(invocation(wat, time=2))
    assert struct.unpack("<IIQHB", output[:19]) == answer
