"""A thread of wasmtime's for files that stays alive."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest

from tests.support.component_guests import invocation
from tests.support.components import bare
from tests.support.sandbox import compiler, run
from wagi_gateway.config.settings import Limits
from wagi_gateway.sandbox.file_thread import FileThread
from wagi_gateway.sandbox.invocation import GuestVolume, Invocation
from wagi_gateway.sources.file import WasmSource

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)


def file_threads() -> int:
    """The number of wasmtime's threads for files in this process."""
    names = [task.read_text() for task in Path("/proc/self/task").glob("*/comm")]
    return sum(name.startswith("tokio-rt-worker") for name in names)


def address_space() -> int:
    """Bytes of address space of this process."""
    found = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses to start threads with the probe's name, as it refuses wasmtime's."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "probe":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_a_thread_is_alive_after_a_use() -> None:
    own = FileThread()
    own.keep_if_used()
    assert own._stat is None
    before = address_space()
    assert own.keep()
    assert file_threads() >= 1
    assert address_space() - before < 2**30  # a memory of a guest has 4 GiB


def test_it_is_used_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    own, uses, clock = FileThread(), [], [100.0]
    monkeypatch.setattr(FileThread, "_use", lambda _: uses.append(clock[0]))
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    own.keep()
    for second in range(101, 110):
        clock[0] = second
        own.keep_if_used()
    assert uses == [100, 103, 106, 109]


@pytest.mark.usefixtures("no_threads")
def test_without_a_thread_there_is_none_unless_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    own = FileThread()
    assert not own.keep()
    own._used = time.monotonic() - 5
    assert own.keep()
    monkeypatch.setattr(FileThread, "_use", None)
    assert own.keep()


STARTS = '(module (func (export "_start")))'


@pytest.mark.usefixtures("no_threads")
@pytest.mark.parametrize("has_files", [True, False])
def test_a_guest_with_files_is_not_run_without_one(tmp_path: Path, has_files: bool) -> None:
    module = compiler().load(WasmSource("guest.wat", STARTS.encode(), STARTS), has_files=has_files)
    volumes = (GuestVolume(bytes(tmp_path), b"/", is_writable=True),) if has_files else ()
    _, guest = run(Invocation(module, b"_start", limits=Limits(), argv=[], environ={}, volumes=volumes))
    assert guest.outcome
    assert guest.outcome.kind == ("starved" if has_files else "exit")


@pytest.mark.usefixtures("no_threads")
def test_a_component_is_not_run_without_one() -> None:
    _, guest = run(invocation(bare()))
    assert guest.outcome
    assert guest.outcome.kind == "starved"
