"""Components: what a guest is given, and how it ends."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.component_guests import HEAD, PROBE, invocation, probe
from tests.support.components import bare, component
from tests.support.sandbox import compiler, run
from wagi_gateway.compiler import debug_info
from wagi_gateway.sandbox.component import run as run_component
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.invocation import GuestVolume, Measurement, StopReason


@pytest.fixture(autouse=True)
def path() -> str:
    """The backend of components, of which there is one."""
    return "hot"


def test_a_guest_has_its_arguments() -> None:
    assert probe(b"arguments", b"a\xffb")[0] == '["/x", "arguments", "a\N{REPLACEMENT CHARACTER}b"]\n'


def test_a_guest_has_its_variables() -> None:
    environ = {b"A": "ä".encode(), b"EMPTY": b"", b"BAD": b"\xff", b"PATH_INFO": b"/x"}
    assert probe(b"variables", environ=environ)[0] == "A=ä\nEMPTY=\nBAD=\N{REPLACEMENT CHARACTER}\nPATH_INFO=/x\n"


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_a_guest_reads_its_body_from_memory_or_a_file(size: int) -> None:
    body = bytes(65 + number % 26 for number in range(size))
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.flush()
        for stdin in (body, file.fileno()):
            assert probe(b"read", stdin=stdin)[0].encode() == body


def test_standard_error_is_logged() -> None:
    pieces: list[bytes] = []
    probe(b"stderr", on_stderr=pieces.append)
    assert b"".join(pieces) == b"a line for the log\n"


def test_standard_error_is_limited() -> None:
    pieces: list[bytes] = []
    text = component(guests.says(HEAD, stderr=b"x" * 200_000))
    _, guest = run(invocation(text, on_stderr=pieces.append, stderr=1000))
    assert (len(b"".join(pieces)), guest.stderr_dropped) == (1000, 199_000)


@pytest.mark.parametrize(
    ("wat", "limits", "outcome"),
    [
        (component(guests.HELLO), {}, ("exit", 0, "")),
        (component(guests.exits(0)), {}, ("exit", 0, "")),
        (component(guests.exits(3)), {}, ("exit", 1, "")),
        (bare("(return (i32.const 1))"), {}, ("exit", 1, "")),
        (bare("(return (i32.const 7))"), {}, ("failed", 0, "discriminant 7 out of range [0..2)")),
        (component(guests.TRAP), {}, ("trap", 0, "wasm `unreachable` instruction executed")),
        (component(guests.STACK_OVERFLOW), {}, ("trap", 0, "call stack exhausted")),
        (component(guests.MEMORY_BOMB), {"memory": "1MiB"}, ("trap", 0, "wasm `unreachable` instruction executed")),
        (component(guests.LOOP), {"time": "100ms"}, ("stopped", 0, "time")),
        (component(guests.SLEEP), {"time": "100ms"}, ("stopped", 0, "time")),
        (bare(fields="(func $f (loop (br 0))) (start $f)"), {"time": "100ms"}, ("stopped", 0, "time")),
        (
            bare("(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 200000000)) (br $l))",
                 fields="(memory 4000)"),
            {"time": "100ms"},
            ("stopped", 0, "time"),
        ),
        (component(guests.ENDLESS_STDOUT), {"stdout": 4096}, ("stopped", 0, "stdout")),
        (bare(fields="(table 901 funcref)"), {"table_elements": 900}, ("failed", 0, None)),
        (bare(fields="(memory 17)"), {"memory": "1MiB"}, ("failed", 0, None)),
    ],
    ids=[
        *("returns", "exits", "exits 3", "returns an error", "returns nonsense", "trap", "stack", "memory", "loop"),
        *("sleep", "start", "fill", "stdout", "table", "initial memory"),
    ],
)  # fmt: skip
def test_how_a_guest_ends(wat: str, limits: dict[str, object], outcome: tuple[str, int, str | None]) -> None:
    _, guest = run(invocation(wat, **limits))  # type: ignore[arg-type]
    assert guest.outcome is not None
    kind, code, message = outcome
    assert guest.outcome[:2] == (kind, code)
    assert message in (None, guest.outcome.message)


def test_the_backtrace_has_the_functions_of_core_modules() -> None:
    _, guest = run(invocation(bare("(call $inner)", fields="(func $inner unreachable)")))
    assert guest.circumstances() == "; in inner, called by run"


def test_a_panic_is_a_trap_with_its_message_in_the_log() -> None:
    pieces: list[bytes] = []
    _, guest = probe(b"panic", on_stderr=pieces.append)
    assert guest.failure() == "trap: wasm `unreachable` instruction executed"
    assert b"the guest panics" in b"".join(pieces)


@pytest.mark.parametrize(
    ("wat", "what"),
    [
        (
            bare(function='(param "a" u32) (result (result))').replace('"run") (result', '"run") (param i32) (result'),
            "type",
        ),
        (bare(function="(result u32)"), "type"),
        (bare(function=""), "type"),
        (bare(), None),
    ],
    ids=["parameter", "number", "nothing", "right"],
)
def test_the_type_of_run_is_checked_at_the_start(wat: str, what: str | None) -> None:
    _, guest = run(invocation(wat, entrypoint=None))
    assert guest.failure() == (what and "failed: wasi:cli/run has a run of another type than WASI's")


@pytest.mark.parametrize("reason", ["shutdown", "disconnect"])
def test_a_guest_that_is_stopped_before_its_start_does_not_run(reason: StopReason) -> None:
    context = ExecutionContext(invocation(component(guests.HELLO)))
    context.stop(reason)
    assert run_component(compiler().engine, context)[:3] == ("stopped", 0, reason)


def test_the_moment_of_instantiation_is_measured() -> None:
    measurement = Measurement(lambda _: None)
    begin = time.monotonic_ns()
    run(invocation(bare("(nop)"), measurement=measurement))
    assert begin < measurement.instantiated_ns < time.monotonic_ns()


# Volumes


def test_a_guest_has_its_volume(volume: GuestVolume) -> None:
    assert probe(b"list", volumes=(volume,))[0] == '["a.txt"]\n'
    assert probe(b"write", volumes=(volume,))[0] == "Ok(())\n"
    assert Path(volume.host.decode(), "new.txt").read_text() == "new"
    assert probe(b"write", volumes=(volume._replace(is_writable=False),))[0] == "Err(PermissionDenied)\n"
    assert probe(b"outside", volumes=(volume,))[0] == "Err(PermissionDenied)\n"


def test_a_volume_that_is_gone_is_a_lack_of_the_system(volume: GuestVolume) -> None:
    _, guest = run(invocation(PROBE.read_bytes(), volumes=(volume._replace(host=b"/nothere"),)))
    assert guest.failure() == "starved: the volume /data cannot be opened"


def test_a_body_that_cannot_be_read_is_a_lack_of_the_system() -> None:
    _, guest = run(invocation(PROBE.read_bytes(), stdin=1 << 20))
    assert guest.failure() == "starved: the standard streams cannot be opened"


def test_debug_information_is_that_of_the_core_modules() -> None:
    assert debug_info.debug_info(PROBE.read_bytes()) == (False, False)
