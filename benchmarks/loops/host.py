"""The least that host functions do for a hello guest: prepared strings in its memory, and a copy of what it prints."""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable, Mapping, Sequence
from ctypes import c_char, c_char_p, c_size_t, c_uint32, c_void_p
from itertools import accumulate
from typing import Any

import wasmtime
from wasmtime import _bindings

_WASI = b"wasi_snapshot_preview1"
_WORDS = 4
"""32-bit words of a value in the C API."""
_U32 = struct.Struct("<I")
_PAIR = struct.Struct("<II")
_P = c_void_p
_Callback = ctypes.CFUNCTYPE(_P, _P, _P, _P, c_size_t)
_define_func = ctypes.PyDLL(_bindings.dll._name)["wasmtime_linker_define_func_unchecked"]  # type: ignore[attr-defined]
_define_func.restype = _P
_define_func.argtypes = [_P, c_char_p, c_size_t, c_char_p, c_size_t, _P, _P, _P, _P]


class BareHost:
    """Host functions for guests that all have the same arguments and environment."""

    def __init__(self, argv: Sequence[bytes], environ: Mapping[bytes, bytes]) -> None:
        self.output = b""
        """What the last guest has printed."""
        self._memory = memoryview(b"")
        arguments, variables = list(argv), [b"=".join(item) for item in environ.items()]
        self._functions = {
            "fd_write": (4, _callback(self._write)),
            "args_sizes_get": (2, _callback(functools.partial(self._give_sizes, arguments))),
            "args_get": (2, _callback(functools.partial(self._give, functools.cache(_block(arguments))))),
            "environ_sizes_get": (2, _callback(functools.partial(self._give_sizes, variables))),
            "environ_get": (2, _callback(functools.partial(self._give, functools.cache(_block(variables))))),
        }

    def define(self, linker: wasmtime.Linker) -> None:
        """Adds the functions to a linker, which must not outlive this object."""
        for name, (parameters, callback) in self._functions.items():
            types = [wasmtime.ValType.i32() for _ in range(parameters)]
            kind = wasmtime.FuncType(types, [wasmtime.ValType.i32()])
            encoded = name.encode()
            _define_func(linker.ptr(), _WASI, len(_WASI), encoded, len(encoded), kind.ptr(), callback, None, None)

    def enter(self, base: int) -> None:
        """Takes the address of the next guest's memory."""
        self._memory = _view(base)

    def _write(self, _descriptor: int, iovecs: int, _count: int, written_at: int) -> None:
        memory = self._memory
        start, size = _PAIR.unpack_from(memory, iovecs)
        self.output = memory[start : start + size].tobytes()
        _U32.pack_into(memory, written_at, size)

    def _give_sizes(self, strings: list[bytes], count_at: int, size_at: int) -> None:
        _U32.pack_into(self._memory, count_at, len(strings))
        _U32.pack_into(self._memory, size_at, sum(map(len, strings)) + len(strings))

    def _give(self, block: Callable[[int], tuple[bytes, bytes]], pointers_at: int, block_at: int) -> None:
        pointers, strings = block(block_at)
        self._memory[pointers_at : pointers_at + len(pointers)] = pointers
        self._memory[block_at : block_at + len(strings)] = strings


def _block(strings: list[bytes]) -> Callable[[int], tuple[bytes, bytes]]:
    """A function of the address of the strings that returns their pointers and the strings."""

    def block(start: int) -> tuple[bytes, bytes]:
        addresses = accumulate((len(string) + 1 for string in strings[:-1]), initial=start)
        return struct.pack(f"<{len(strings)}I", *addresses), b"".join(string + b"\0" for string in strings)

    return block


def _callback(function: Callable[..., None]) -> Any:
    words = c_uint32 * (4 * _WORDS)

    def callback(_env: int, _caller: int, values: int, count: int) -> None:
        raw = words.from_address(values)
        function(*raw[0 : count * _WORDS : _WORDS])
        raw[0] = 0

    return _Callback(callback)


@functools.cache
def _view(base: int) -> memoryview:
    return memoryview((c_char * 2**32).from_address(base)).cast("B")
