"""Compilation in a process of its own: bounds, refusals, cancelled loads, and what the process inherits."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import wasmtime

from tests.conftest import wait_until
from tests.support.modules import binary
from tests.support.slow_modules import ENDLESS, LARGE, SLOW, is_running, new_compilers, note_compilers
from wagi_gateway.compiler import compilation
from wagi_gateway.compiler.compilation import (
    CompilationFailed,
    CompilerProcess,
    Wait,
    end_early,
    one_line,
    start_early,
)
from wagi_gateway.compiler.engine import create_plain_engine
from wagi_gateway.config.settings import CompilerConfig
from wagi_gateway.errors import LoadCancelled, StartupError

EMPTY = binary('(func (export "_start"))')
ENDLESS_MODULE = bytes(wasmtime.wat2wasm(ENDLESS))


@pytest.fixture(autouse=True)
def _other_compilers() -> None:
    """Other tests of this process may have fork servers of their own."""
    note_compilers()


def process(cancelled: threading.Event | None = None, **settings: object) -> CompilerProcess:
    return CompilerProcess(CompilerConfig.model_validate(settings), cancelled or threading.Event())


@pytest.fixture
def own() -> Iterator[CompilerProcess]:
    """A process with the default settings."""
    own = process()
    yield own
    own.close()


def artefact(own: CompilerProcess, module: bytes) -> bytearray:
    """Compiles a module."""
    return own.compile("module.wasm", module)


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_fork_server_that_was_started_early(own: CompilerProcess, is_killed: bool) -> None:
    start_early()
    start_early()
    [(_, early)] = compilation._early
    if is_killed:
        early.kill()
        early.wait()
    assert artefact(own, EMPTY)
    assert compilation._early == []
    assert (early.poll() is None) == (not is_killed)
    own.close()
    assert early.poll() is not None


def test_an_early_fork_server_that_is_not_used_ends() -> None:
    start_early()
    [(_, early)] = compilation._early
    end_early()
    end_early()
    assert early.poll() is not None


@pytest.fixture
def busy() -> Iterator[tuple[CompilerProcess, threading.Event, Future[bytearray]]]:
    """A process that compiles an endless module."""
    cancelled = threading.Event()
    own = process(cancelled)
    with ThreadPoolExecutor(1) as thread:
        compiling = thread.submit(artefact, own, ENDLESS_MODULE)
        wait_until(lambda: len(new_compilers()) == 2)
        yield own, cancelled, compiling
        cancelled.set()


def test_an_artefact_comes_through_a_pipe(own: CompilerProcess) -> None:
    large = binary(f"(func {'nop ' * 300_000})")  # more than a pipe holds
    for module in (EMPTY, large):
        assert wasmtime.Module.deserialize(create_plain_engine(), artefact(own, module))


def test_modules_of_a_load_share_a_fork_server(own: CompilerProcess) -> None:
    artefact(own, EMPTY)
    (server,) = new_compilers()
    artefact(own, binary(""))
    assert new_compilers() == [server]
    own.close()
    own.close()
    assert not is_running(server)
    assert artefact(own, EMPTY)


def test_a_process_that_is_not_closed_ends_with_its_last_reference() -> None:
    own = process()
    artefact(own, EMPTY)
    pids = new_compilers()
    del own
    assert not any(map(is_running, pids))


@pytest.mark.parametrize("wat", SLOW.values(), ids=SLOW)
def test_a_module_that_takes_long_is_refused(wat: str) -> None:
    own = process(time="300ms")
    expected = r"^is not compiled within compiler.time = 0.3s; raise it, or build smaller functions$"
    with pytest.raises(CompilationFailed, match=expected):
        artefact(own, bytes(wasmtime.wat2wasm(wat)))
    own.close()


@pytest.mark.parametrize("wat", LARGE.values(), ids=LARGE)
def test_a_module_that_needs_much_memory_is_refused(wat: str) -> None:
    own = process(memory="64MiB")
    expected = r"^needs more than compiler.memory = 64MiB to compile; raise it, or build smaller functions$"
    with pytest.raises(CompilationFailed, match=expected):
        artefact(own, bytes(wasmtime.wat2wasm(wat)))
    assert artefact(own, EMPTY)
    own.close()


def test_wasmtimes_refusal(own: CompilerProcess) -> None:
    with pytest.raises(CompilationFailed, match=r"^does not compile: [^\n]+version[^\n]+$"):
        artefact(own, b"\0asm no module")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (signal.SIGSYS, "^does not compile: it ends the compiler with SIGSYS$"),
        (signal.SIGABRT, "^does not compile: it ends the compiler with SIGABRT$"),
        (signal.SIGKILL, "^does not compile: the compiler was ended by SIGKILL; the kernel does so when memory is"),
        (signal.SIGRTMIN + 1, r"ends the compiler with signal \d+$"),
    ],
    ids=str,
)
def test_a_child_that_is_ended(
    busy: tuple[CompilerProcess, threading.Event, Future[bytearray]], number: int, expected: str
) -> None:
    own, _, compiling = busy
    os.kill(new_compilers()[1], number)
    with pytest.raises(CompilationFailed, match=expected):
        compiling.result(60)
    assert artefact(own, EMPTY)
    own.close()


def test_a_fork_server_that_is_ended(busy: tuple[CompilerProcess, threading.Event, Future[bytearray]]) -> None:
    own, _, compiling = busy
    os.kill(new_compilers()[0], signal.SIGKILL)
    with pytest.raises(CompilationFailed, match="ended by SIGKILL"):
        compiling.result(60)
    assert artefact(own, EMPTY)
    own.close()


def test_a_cancelled_load_ends_its_compilation(
    busy: tuple[CompilerProcess, threading.Event, Future[bytearray]],
) -> None:
    own, cancelled, compiling = busy
    pids = new_compilers()
    cancelled.set()
    with pytest.raises(LoadCancelled, match=r"^compiling module.wasm \(8.\d KiB\) for \d+.\d s$"):
        compiling.result(60)
    assert not any(map(is_running, pids))
    with pytest.raises(LoadCancelled):
        artefact(own, EMPTY)
    assert new_compilers() == []


@pytest.mark.usefixtures("busy")
def test_what_the_processes_inherit() -> None:
    server, child = new_compilers()
    assert environment(server) == environment(child) == b"RUST_BACKTRACE=0\0"
    assert os.readlink(f"/proc/{server}/cwd") == "/"
    assert len(os.listdir(f"/proc/{server}/task")) == 1  # fork(2) is safe
    # The child lists and closes what it inherited before it compiles.
    wait_until(lambda: {re.sub(r"\W.*", "", name.lstrip("/")) for name in files(child)} == {"dev", "pipe"})
    assert files(child)[0] == "/dev/null"
    assert set(files(server)) >= {"/dev/null"}


def environment(pid: int) -> bytes:
    """The environment of a process, without variables that some interpreters need."""
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return b"\0".join(line for line in variables if not line.startswith((b"LD_LIBRARY_PATH=", b"PYTHONHOME=")))


def files(pid: int) -> list[str]:
    """The open files of a process; one that it closes meanwhile is left out."""
    names = []
    for path in sorted(Path(f"/proc/{pid}/fd").iterdir(), key=lambda path: int(path.name)):
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(path))
    return names


@pytest.mark.parametrize("call", ["pipe", "Popen"])
def test_a_system_without_resources(monkeypatch: pytest.MonkeyPatch, own: CompilerProcess, call: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os if call == "pipe" else subprocess, call, refuse)
    with pytest.raises(StartupError, match=r"^cannot be compiled, because the system refuses: Too many open files$"):
        artefact(own, EMPTY)


def test_an_interpreter_without_a_program(monkeypatch: pytest.MonkeyPatch, own: CompilerProcess) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(StartupError, match=r"^cannot be compiled, because the system refuses"):
        artefact(own, EMPTY)


@pytest.mark.usefixtures("propagating_loggers")
def test_a_long_wait_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[-1])
    caplog.set_level(logging.INFO, "wagi_gateway")
    waits = Wait("compiling a.wasm (3.0 MiB)", threading.Event()), Wait("silent", threading.Event(), is_silent=True)
    for seconds in range(30):
        clock.append(100.0 + seconds)
        for wait in waits:
            wait.check()
    assert caplog.messages == [f"compiling a.wasm (3.0 MiB) for {seconds} s" for seconds in (5, 10, 20)]


@pytest.mark.parametrize(
    ("wat", "expected"),
    [
        ("(module", "line 1, column 8: expected `)`"),
        ("(module\n (func\n\t(i32.ad)))", "line 3, column 3: unknown operator or unexpected token, near `(i32.ad)))`"),
        ("é (module)", r"line 1, column 1: unexpected character '\u{e9}', near `é (module)`"),
        (f"(module {' ' * 300}(bad))", "line 1, column 310: "),
        (f"(module (func {'(nop)' * 9}(bad {'x' * 300})))", "line 1, column 61: "),
    ],
    ids="end|inside|not ASCII|far|long".split("|"),
)
def test_an_error_of_the_text_format_has_line_and_column(wat: str, expected: str) -> None:
    with pytest.raises(wasmtime.WasmtimeError) as raised:
        wasmtime.wat2wasm(wat)
    message = one_line(str(raised.value))
    assert message.startswith(expected)
    assert not re.search(r"\||\n|-->|<anon>", message)
    assert len(message) < 150


def test_the_causes_of_an_error_follow_without_their_numbers() -> None:
    module = b"\0asm\x01\0\0\0\x01\x05\x01\x60\x00\x01\x7f\x03\x02\x01\x00\x0a\x04\x01\x02\x00\x0b"
    with pytest.raises(wasmtime.WasmtimeError) as raised:
        wasmtime.Module(create_plain_engine(), module)
    message = one_line(str(raised.value))
    assert message.startswith("failed to compile: wasm[0]::function[0]: WebAssembly translation error: Invalid input ")
