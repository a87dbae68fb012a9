"""The backend on wasmtime's public API, for any release but the one whose ABI `capi` is bound to.

Guests end in the same ways as on the C API, for several times the cost. The public API has no epoch callback: a store
ends at the epoch that was set for it. So each guest has an engine of its own, and `tick` begins that engine's next
epoch once the guest has to end. A guest that was blocked when it was stopped may compute until the next tick; on
the C API its epoch is over already.
"""

from __future__ import annotations

import ctypes
import time
from functools import lru_cache

import wasmtime

from ..compiler.engine import create_plain_engine
from ..compiler.externs import FunctionType, Import
from ..compiler.serialized_module import SerializedModule
from . import backtrace
from .adapter import adapter_globals, adapter_text
from .context import ExecutionContext, Unwind, current
from .host import HostImport, call, missing_trap, missing_type
from .invocation import End, Invocation, Outcome, core_module
from .memory import Memory
from .proc_exit import exit_code
from .shim import shim_exports, shim_linker, shim_text, types_of

_UNSIGNED, _UNSIGNED_LONG = 0xFFFFFFFF, 0xFFFFFFFF_FFFFFFFF
_MAX_MEMORY = 2**32

_running: dict[ExecutionContext, wasmtime.Engine] = {}


class _Starved(Exception):
    """The system or the request lacks what the guest needs."""


def tick() -> None:
    """Ends the guests that have to end. May be called from any thread."""
    for context, engine in _running.copy().items():
        if context.must_stop():
            engine.increment_epoch()


def run(_engine: wasmtime.Engine, context: ExecutionContext) -> Outcome:
    """Runs a guest to its end on this thread. Never raises."""
    context.begin()
    if context.stop_reason is not None:
        return Outcome("stopped", message=context.stop_reason)
    current.context = context
    ended, memory = _run_in_store(context)
    seconds = (time.monotonic_ns() - context.started_ns) / 1e9
    current.context = context.memory = None
    context.end()
    has_failed = ended.kind != "exit" or ended.code != 0
    is_short = has_failed and memory > context.invocation.limits.memory // 2
    if context.stop_reason is not None and ended.kind != "exit":
        return Outcome("stopped", ended.code, context.stop_reason, seconds, is_short, memory, ended.frames)
    return Outcome(ended.kind, ended.code, ended.message, seconds, is_short, memory, ended.frames)


def _run_in_store(context: ExecutionContext) -> tuple[Outcome, int]:
    """Runs the guest; returns its end, and the bytes of its memory."""
    invocation = context.invocation
    serialized = core_module(invocation).serialized
    try:
        if serialized is None:
            raise wasmtime.WasmtimeError("the module was loaded for the C API backend")
        with wasmtime.Store(serialized.create_engine()) as store:
            _limit(store, invocation)
            _configure_wasi(store, invocation)
            _running[context] = store.engine
            return _run(store, context, serialized)
    except Exception as error:  # noqa: BLE001 - another release may raise other exceptions
        return _outcome(context, error), 0
    finally:
        _running.pop(context, None)


def _outcome(context: ExecutionContext, error: Exception) -> Outcome:
    # wasmtime's frames are in a cycle with the error, and would keep the engine until the next collection.
    error.__traceback__ = None
    if context.exit_code is not None:
        return Outcome("exit", context.exit_code)
    kind: End = "starved" if isinstance(error, _Starved) else "failed"
    if isinstance(error, wasmtime.Trap):
        kind = "trap"
    cause, frames = backtrace.parse(str(error))
    if context.missing_import:
        return Outcome("trap", 0, context.missing_import, frames=frames)
    return Outcome(kind, 0, cause, frames=frames)


def _limit(store: wasmtime.Store, invocation: Invocation) -> None:
    limits, extra = invocation.limits, 0 if core_module(invocation).instance_pre else 1
    store.set_limits(
        memory_size=limits.memory,
        table_elements=limits.table_elements,
        instances=1 + 2 * extra,
        tables=limits.tables + extra,
        memories=limits.memories,
    )
    store.set_epoch_deadline(1)


def _configure_wasi(store: wasmtime.Store, invocation: Invocation) -> None:
    """Gives the guest wasmtime's WASI, for clocks and volumes. Raises _Starved where a volume fails."""
    with wasmtime.WasiConfig() as config:
        for volume in filter(lambda volume: volume.host, invocation.volumes):
            try:
                config.preopen_dir(volume.host.decode(), volume.guest.decode(), fs_mutable=volume.is_writable)
            except (UnicodeDecodeError, wasmtime.WasmtimeError):
                raise _Starved(f"the volume {volume.guest.decode(errors='replace')} cannot be opened") from None
        try:
            store.set_wasi(config)
        except wasmtime.WasmtimeError as error:
            raise _Starved(str(error)) from None


def _run(store: wasmtime.Store, context: ExecutionContext, serialized: SerializedModule) -> tuple[Outcome, int]:
    """Instantiates the module and calls the entrypoints; returns the end, and the bytes of memory.

    Raises wasmtime's exception where the module cannot be instantiated.
    """
    exports = _instantiate(store, context, serialized).exports(store)
    if measurement := context.invocation.measurement:
        measurement.instantiated_ns = time.monotonic_ns()
    code = 0
    for name in context.invocation.entrypoints:
        function = exports.get(name.decode())
        if not isinstance(function, wasmtime.Func):
            raise wasmtime.WasmtimeError(f"there is no export {name.decode()}")
        try:
            result = function(store)
        except Exception as error:  # noqa: BLE001 - as in `_run_in_store`
            ended, memory = _outcome(context, error), exports.get("memory")
            return ended, memory.data_len(store) if isinstance(memory, wasmtime.Memory) else 0
        if name in core_module(context.invocation).functions_with_code:
            code = exit_code(result)
    memory = exports.get("memory")
    return Outcome("exit", code), memory.data_len(store) if isinstance(memory, wasmtime.Memory) else 0


def _instantiate(store: wasmtime.Store, context: ExecutionContext, serialized: SerializedModule) -> wasmtime.Instance:
    """Instantiates the guest, between shim and adapter if it has files (`sandbox.adapter`)."""
    module = core_module(context.invocation)
    if module.instance_pre:
        return serialized.instantiate(store)
    around = _serialized_files(types_of(module.missing), has_source_lines=serialized.has_source_lines)
    shim_module, adapter_module = (wasmtime.Module.deserialize(store.engine, data) for data in around)
    linker = shim_linker(store.engine, define, define_missing, module.missing)
    shim, names = linker.instantiate(store, shim_module).exports(store), shim_exports(module.missing)
    imports = [shim[names[wanted]] for wanted in module.import_names]
    guest = wasmtime.Instance(store, serialized.module(store.engine), imports)
    adapter = wasmtime.Instance(store, adapter_module, [guest.exports(store)["memory"], shim["table"]])
    for name, number in adapter_globals(context).items():
        exported = adapter.exports(store)[name.decode()]
        if isinstance(exported, wasmtime.Global):
            exported.set_value(store, number)
    return guest


@lru_cache(maxsize=64)
def _serialized_files(missing: tuple[FunctionType, ...], *, has_source_lines: bool) -> tuple[bytearray, bytearray]:
    engine = create_plain_engine(has_source_lines=has_source_lines)
    shim, adapter = (wasmtime.Module(engine, text).serialize() for text in (shim_text(missing), adapter_text()))
    return shim, adapter


class _PublicMemory(Memory):
    __slots__ = ("_caller", "_memory")

    def __init__(self, memory: wasmtime.Memory, caller: wasmtime.Caller) -> None:
        super().__init__(memoryview(b""), 0)
        self._memory = memory
        self._caller = caller
        self.refresh()

    def refresh(self) -> None:
        size = min(self._memory.data_len(self._caller), _MAX_MEMORY)
        start = ctypes.addressof(self._memory.data_ptr(self._caller).contents)
        self.size = size
        self.view = memoryview((ctypes.c_char * size).from_address(start)).cast("B")


def define(linker: wasmtime.Linker, host: HostImport) -> None:
    """Adds a host function to a linker, or replaces the function of that name."""
    masks = [_UNSIGNED if kind == "i" else _UNSIGNED_LONG for kind in host.parameters]

    def callback(caller: wasmtime.Caller, *arguments: int) -> int | None:
        unsigned = [argument & mask for argument, mask in zip(arguments, masks, strict=True)]
        context = current.context
        if context is None:
            return host.failed if host.has_result else None
        context.memory = _memory(caller)  # a memory may move when it grows
        try:
            result = call(context, host.function, unsigned, host.failed)
        except Unwind:
            raise wasmtime.Trap("ended by the gateway") from None
        return result if host.has_result else None

    types = {"i": wasmtime.ValType.i32, "I": wasmtime.ValType.i64}
    # A type for each linker, because the linker's engine takes ownership.
    parameters = [types[kind]() for kind in host.parameters]
    function_type = wasmtime.FuncType(parameters, [wasmtime.ValType.i32()] if host.has_result else [])
    linker.define_func(host.module, host.name, function_type, callback, access_caller=True)


def define_missing(linker: wasmtime.Linker, names: tuple[str, str], wanted: Import) -> None:
    """Adds a function that traps to a linker, for an import that the gateway does not provide."""
    cause = missing_trap(wanted)

    def callback(*_arguments: object) -> None:
        if current.context:
            current.context.missing_import = cause
        raise wasmtime.Trap("ended by the gateway")

    linker.define_func(*names, missing_type(wanted), callback)


def _memory(caller: wasmtime.Caller) -> Memory | None:
    memory = caller.get("memory")
    return _PublicMemory(memory, caller) if isinstance(memory, wasmtime.Memory) else None
