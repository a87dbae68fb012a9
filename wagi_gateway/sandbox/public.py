"""One invocation through wasmtime's public API: the way of any release but the one `capi` is written for.

The same guests end in the same ways as on the hot path, for several times its cost. The public API has no callback for
an epoch: a store ends at the epoch it was given, whatever has happened until then. So each guest has an engine of its
own, and `tick` begins that engine's next epoch once the guest has to end. One that was blocked when it was stopped may
compute until then; on the hot path its epoch is over already.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

import wasmtime

from ..compiler.engine import create_plain_engine
from .invocation import End, Invocation, Outcome, current
from .pipes import descriptor_path

_Ended = tuple[End, int, str]


_running: dict[Invocation, wasmtime.Engine] = {}


class _Starved(Exception):
    """The system, or the request, had not what the guest needs."""


def tick() -> None:
    """Ends the guests that have to end. May be called from any thread."""
    for invocation, engine in _running.copy().items():
        if invocation.must_stop():
            engine.increment_epoch()


def run(_engine: wasmtime.Engine, invocation: Invocation, stdout: bytes, stderr: bytes) -> Outcome:
    """Runs one guest to its end on this thread; `stdout` and `stderr` are paths of pipes. Never raises."""
    invocation.begin()
    if invocation.stop_reason is not None:
        return Outcome("stopped", message=invocation.stop_reason)
    current.invocation = invocation
    kind, code, message = _end(invocation, stdout, stderr)
    seconds = (time.monotonic_ns() - invocation.started_ns) / 1e9
    current.invocation = None
    invocation.end()
    if invocation.stop_reason is not None and kind != "exit":
        kind, message = "stopped", invocation.stop_reason
    return Outcome(kind, code, message, seconds)


def _end(invocation: Invocation, stdout: bytes, stderr: bytes) -> _Ended:
    try:
        with wasmtime.Store(create_plain_engine()) as store:
            _limit(store, invocation)
            _give_wasi(store, invocation, stdout, stderr)
            _running[invocation] = store.engine
            _run(store, invocation)
    except Exception as error:  # noqa: BLE001 - another release may do what this one does not
        # wasmtime's frames are in a cycle with it, and would keep the engine until the next collection.
        error.__traceback__ = None
        return _kind(error)
    finally:
        _running.pop(invocation, None)
    return "exit", 0, ""


def _kind(error: Exception) -> _Ended:
    if isinstance(error, wasmtime.ExitTrap):
        return "exit", error.code, ""
    if isinstance(error, wasmtime.Trap):
        return "trap", 0, error.message
    return "starved" if isinstance(error, _Starved) else "failed", 0, str(error)


def _limit(store: wasmtime.Store, invocation: Invocation) -> None:
    limits = invocation.limits
    store.set_limits(
        memory_size=limits.memory,
        table_elements=limits.table_elements,
        instances=1,
        tables=limits.tables,
        memories=limits.memories,
    )
    store.set_epoch_deadline(1)


def _give_wasi(store: wasmtime.Store, invocation: Invocation, stdout: bytes, stderr: bytes) -> None:
    """Everything the guest is given. Raises _Starved where it cannot be had."""
    with wasmtime.WasiConfig() as config:
        _give_strings(config, invocation)
        try:
            config.stdout_file = stdout.decode()
            config.stderr_file = stderr.decode()
        except wasmtime.WasmtimeError:
            raise _Starved("no descriptor is free for the guest's output") from None
        _give_stdin(config, invocation.stdin)
        for host, guest, is_writable in invocation.volumes:
            try:
                config.preopen_dir(host.decode(), guest.decode(), fs_mutable=is_writable)
            except (UnicodeDecodeError, wasmtime.WasmtimeError):
                raise _Starved(f"the volume {guest.decode(errors='replace')} cannot be opened") from None
        try:
            store.set_wasi(config)
        except wasmtime.WasmtimeError as error:
            raise _Starved(str(error)) from None


def _give_strings(config: wasmtime.WasiConfig, invocation: Invocation) -> None:
    try:
        config.argv = [argument.decode() for argument in invocation.argv]
    except UnicodeDecodeError:
        raise _Starved("the arguments are not UTF-8") from None
    try:
        config.env = [(name.decode(), value.decode()) for name, value in invocation.environ.items()]
    except UnicodeDecodeError:
        raise _Starved("the environment is not UTF-8") from None


def _give_stdin(config: wasmtime.WasiConfig, stdin: bytes | int) -> None:
    """Opens the file that holds the body; the public API has no other standard input."""
    if stdin == b"":
        return
    file = None
    try:
        if isinstance(stdin, bytes):
            file = os.fdopen(os.memfd_create("stdin"), "wb")
            file.write(stdin)
            file.flush()
            stdin = file.fileno()
        config.stdin_file = descriptor_path(stdin)
    except (OSError, wasmtime.WasmtimeError):
        raise _Starved("the spooled request body cannot be opened") from None
    finally:
        if file:
            with suppress(OSError):
                file.close()


def _run(store: wasmtime.Store, invocation: Invocation) -> None:
    """Raises what wasmtime makes of the guest's end, if that is not its return."""
    module = invocation.module
    if module.serialized is None:
        raise wasmtime.WasmtimeError("the module was loaded for the hot path")
    exports = module.serialized.instantiate(store).exports(store)
    for name in invocation.entrypoints:
        function = exports.get(name.decode())
        if not isinstance(function, wasmtime.Func):
            raise wasmtime.WasmtimeError(f"there is no export {name.decode()}")
        try:
            function(store)
        except Exception as error:
            memory = exports.get("memory")
            if _kind(error)[:2] != ("exit", 0) and isinstance(memory, wasmtime.Memory):
                invocation.note_memory(memory.data_len(store))
            raise
