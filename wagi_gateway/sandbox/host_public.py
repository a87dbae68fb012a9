"""Host functions where wasmtime's public API alone is used."""

from __future__ import annotations

import wasmtime

from .host import HostFunction, Memory, call

_UNSIGNED = 0xFFFFFFFF


class _Memory(Memory):
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
        if data:  # wasmtime's refuses to write nothing at the very end
            self._memory.write(self._caller, data, start)


def define(
    linker: wasmtime.Linker, module: str, name: str, parameters: int, function: HostFunction, failed: int
) -> None:
    """What `host.define` does."""

    def callback(caller: wasmtime.Caller, *arguments: int) -> int:
        return call(function, _memory, caller, [argument & _UNSIGNED for argument in arguments], failed)

    i32 = wasmtime.ValType.i32()
    # A type of its own, because the linker's engine takes it.
    linker.define_func(module, name, wasmtime.FuncType([i32] * parameters, [i32]), callback, access_caller=True)


def _memory(caller: wasmtime.Caller) -> Memory | None:
    memory = caller.get("memory")
    return _Memory(memory, caller) if isinstance(memory, wasmtime.Memory) else None
