"""The backend on wasmtime's public API, for any release but the one whose ABI `capi` is bound to.

Guests end in the same ways as on the C API, for several times the cost. The public API has no epoch callback: a store
ends at the epoch that was set for it. So each guest has an engine of its own, and `tick` begins that engine's next
epoch once the guest has to end. A guest that was blocked when it was stopped may compute until the next tick; on
the C API its epoch is over already.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

import wasmtime

from ..compiler.engine import create_plain_engine
from .context import ExecutionContext, current
from .host import HostImport, Memory, call
from .invocation import Invocation, Outcome
from .pipes import descriptor_path

_UNSIGNED = 0xFFFFFFFF

_running: dict[ExecutionContext, wasmtime.Engine] = {}


class _Starved(Exception):
    """The system or the request lacks what the guest needs."""


def tick() -> None:
    """Ends the guests that have to end. May be called from any thread."""
    for context, engine in _running.copy().items():
        if context.must_stop():
            engine.increment_epoch()


def run(_engine: wasmtime.Engine, context: ExecutionContext, stdout: bytes, stderr: bytes) -> Outcome:
    """Runs a guest to its end on this thread; `stdout` and `stderr` are paths of pipes. Never raises."""
    context.begin()
    if context.stop_reason is not None:
        return Outcome("stopped", message=context.stop_reason)
    current.context = context
    ended, memory = _run_in_store(context, stdout, stderr)
    seconds = (time.monotonic_ns() - context.started_ns) / 1e9
    current.context = None
    context.end()
    is_short = memory > context.invocation.limits.memory // 2
    if context.stop_reason is not None and ended.kind != "exit":
        return Outcome("stopped", ended.code, context.stop_reason, seconds, is_short)
    return Outcome(ended.kind, ended.code, ended.message, seconds, is_short)


def _run_in_store(context: ExecutionContext, stdout: bytes, stderr: bytes) -> tuple[Outcome, int]:
    """Runs the guest; returns its end, and the bytes of memory of a failed guest."""
    invocation = context.invocation
    try:
        with wasmtime.Store(create_plain_engine()) as store:
            _limit(store, invocation)
            _configure_wasi(store, invocation, stdout, stderr)
            _running[context] = store.engine
            return _run(store, invocation)
    except Exception as error:  # noqa: BLE001 - another release may raise other exceptions
        return _outcome(error), 0
    finally:
        _running.pop(context, None)


def _outcome(error: Exception) -> Outcome:
    # wasmtime's frames are in a cycle with the error, and would keep the engine until the next collection.
    error.__traceback__ = None
    if isinstance(error, wasmtime.ExitTrap):
        return Outcome("exit", error.code)
    if isinstance(error, wasmtime.Trap):
        return Outcome("trap", 0, error.message)
    return Outcome("starved" if isinstance(error, _Starved) else "failed", 0, str(error))


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


def _configure_wasi(store: wasmtime.Store, invocation: Invocation, stdout: bytes, stderr: bytes) -> None:
    """Gives the guest its arguments, environment, streams and volumes. Raises _Starved where one fails."""
    with wasmtime.WasiConfig() as config:
        _set_strings(config, invocation)
        try:
            config.stdout_file = stdout.decode()
            config.stderr_file = stderr.decode()
        except wasmtime.WasmtimeError:
            raise _Starved("no descriptor is free for the guest's output") from None
        _set_stdin(config, invocation.stdin)
        for volume in invocation.volumes:
            try:
                config.preopen_dir(volume.host.decode(), volume.guest.decode(), fs_mutable=volume.is_writable)
            except (UnicodeDecodeError, wasmtime.WasmtimeError):
                raise _Starved(f"the volume {volume.guest.decode(errors='replace')} cannot be opened") from None
        try:
            store.set_wasi(config)
        except wasmtime.WasmtimeError as error:
            raise _Starved(str(error)) from None


def _set_strings(config: wasmtime.WasiConfig, invocation: Invocation) -> None:
    try:
        config.argv = [argument.decode() for argument in invocation.argv]
    except UnicodeDecodeError:
        raise _Starved("the arguments are not UTF-8") from None
    try:
        config.env = [(name.decode(), value.decode()) for name, value in invocation.environ.items()]
    except UnicodeDecodeError:
        raise _Starved("the environment is not UTF-8") from None


def _set_stdin(config: wasmtime.WasiConfig, stdin: bytes | int) -> None:
    """Sets the file that holds the body: the public API has no other standard input."""
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


def _run(store: wasmtime.Store, invocation: Invocation) -> tuple[Outcome, int]:
    """Instantiates the module and calls the entrypoints; returns the end, and the bytes of memory of a failed guest.

    Raises wasmtime's exception where the module cannot be instantiated.
    """
    module = invocation.module
    if module.serialized is None:
        raise wasmtime.WasmtimeError("the module was loaded for the C API backend")
    exports = module.serialized.instantiate(store).exports(store)
    for name in invocation.entrypoints:
        function = exports.get(name.decode())
        if not isinstance(function, wasmtime.Func):
            raise wasmtime.WasmtimeError(f"there is no export {name.decode()}")
        try:
            function(store)
        except Exception as error:  # noqa: BLE001 - as in `_run_in_store`
            ended, memory = _outcome(error), exports.get("memory")
            has_failed = ended.kind != "exit" or ended.code != 0
            return ended, memory.data_len(store) if has_failed and isinstance(memory, wasmtime.Memory) else 0
    return Outcome("exit"), 0


class _PublicMemory(Memory):
    __slots__ = ("_caller", "_memory")

    def __init__(self, memory: wasmtime.Memory, caller: wasmtime.Caller) -> None:
        super().__init__(memory.data_len(caller))
        self._memory = memory
        self._caller = caller

    def read(self, start: int, size: int) -> bytes:
        self.check(start, size)
        return bytes(self._memory.read(self._caller, start, start + size))

    def write(self, start: int, data: bytes) -> None:
        self.check(start, len(data))
        if data:  # wasmtime refuses to write an empty piece at the very end of the memory
            self._memory.write(self._caller, data, start)


def define(linker: wasmtime.Linker, host: HostImport) -> None:
    """Adds a host function to a linker, or replaces the function of that name."""

    def callback(caller: wasmtime.Caller, *arguments: int) -> int:
        unsigned = [argument & _UNSIGNED for argument in arguments]
        return call(host.function, _memory, caller, unsigned, host.failed)

    i32 = wasmtime.ValType.i32()
    # A type for each linker, because the linker's engine takes ownership.
    function_type = wasmtime.FuncType([i32] * host.parameters, [i32])
    linker.define_func(host.module, host.name, function_type, callback, access_caller=True)


def _memory(caller: wasmtime.Caller) -> Memory | None:
    memory = caller.get("memory")
    return _PublicMemory(memory, caller) if isinstance(memory, wasmtime.Memory) else None
