"""Bytes become a precompiled artefact on disk and a warm module in memory: what of wasmtime happens before requests."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import wasmtime

from ..errors import Problem, StartupError
from ..sources.file import WasmSource
from . import abi
from .abi import WASMTIME_VERSION
from .binary import largest_function
from .cache import ArtefactCache
from .engine import MAX_WASM_STACK

_WASI = "wasi_snapshot_preview1"
_LONG = frozenset((f"{_WASI}.poll_oneoff", f"{_WASI}.random_get"))
"""Functions of WASI that wait, and that take seconds for a memory of random numbers."""
_SHORT = 128 * 1024
"""Bytes of a function; it has room for some ten thousand calls in a row, which is a fifth of a second at worst."""
_COMPONENT = b"\0asm\x0d\x00\x01\x00"

# AssemblyScript's runtime names its files in the messages it can end with; its texts are UTF-16.
_ASSEMBLYSCRIPT = "~lib/".encode("utf-16-le")

DefineHost = Callable[[wasmtime.Linker, bool], None]
"""Adds host functions to a linker; for a module of AssemblyScript without volumes, another `fd_write` too."""
OnCompile = Callable[[WasmSource], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class WarmModule:
    """A module that is compiled, linked and ready to be instantiated for a request."""

    name: str
    digest: str
    instance_pre: wasmtime.InstancePre
    functions: frozenset[str]
    """Exports that take nothing and return nothing: what can be an entrypoint."""
    exports: tuple[str, ...]
    is_reactor: bool
    """Whether `_initialize` is to be called before the entrypoint (WASI application ABI)."""
    imports: frozenset[str]
    """The import modules it needs, such as `wasi_snapshot_preview1`."""
    reads_arguments: bool
    reads_environment: bool
    meets_epochs: bool
    """Whether a guest of it is never long without an epoch, at which it can be ended: no function it imports waits or
    works for long, and none of its own is long enough for very many calls in a row."""
    copies: SerializedModule | None
    """The same for engines of their own; None where the hot path is used, which has no need of them."""


class SerializedModule:
    """A module for any number of engines, in memory once.

    An epoch belongs to an engine and wasmtime's public API has no other means to end a guest that computes, so each
    guest gets an engine there.
    """

    def __init__(self, module: wasmtime.Module, define: Callable[[wasmtime.Engine], wasmtime.Linker]) -> None:
        """Raises OSError where the system has no descriptor or memory left."""
        self._define = define
        # Mapped from a file, where bytes would be copied for each engine.
        self._file = os.memfd_create("module")
        weakref.finalize(self, os.close, self._file)
        with open(self._file, "wb", closefd=False) as file:
            file.write(module.serialize())

    def instantiate(self, store: wasmtime.Store) -> wasmtime.Instance:
        """An instance in a store of an engine that `create_plain_engine` made. Raises WasmtimeError, Trap."""
        module = wasmtime.Module.deserialize_file(store.engine, f"/dev/fd/{self._file}")
        return self._define(store.engine).instantiate(store, module)


class Compiler:
    """Loads each module once: from the cache if it holds the artefact, else compiled, and kept there."""

    def __init__(
        self,
        engine: wasmtime.Engine,
        define_host: DefineHost,
        cache: ArtefactCache | None = None,
        on_compile: OnCompile | None = None,
        before: Compiler | None = None,
    ) -> None:
        """`on_compile` is entered around a long compile; what `before`, of the same engine, has loaded is not loaded
        again."""
        self.engine = engine
        self.warnings: list[str] = []
        self.loads: Counter[str] = Counter()
        """Modules by where their machine code has come from: `cache` or `compiler`."""
        self._cache = cache
        self._on_compile = on_compile or (lambda _source: nullcontext())
        self._warm: dict[tuple[str, bool], WarmModule] = {}
        self._define_host = define_host
        self._linkers: dict[bool, wasmtime.Linker] = before._linkers if before else {}
        self._before = before._warm if before else {}

    def load(self, source: WasmSource, *, has_files: bool = False) -> WarmModule:
        """The warm module of a source; asked again for the same, the same. Raises StartupError.

        `has_files` is a module with volumes.
        """
        gathers = not has_files and _ASSEMBLYSCRIPT in source.data  # see sandbox.gather
        if known := self._before.get((source.digest, gathers)):
            self._warm[source.digest, gathers] = known
        if (source.digest, gathers) not in self._warm:
            linker = self._linker(gathers=gathers)
            module = self._module(source)
            self._check_imports(module, linker)
            self._warm[source.digest, gathers] = self._warm_up(source, module, linker, gathers=gathers)
        return self._warm[source.digest, gathers]

    def forget_before(self) -> None:
        """All is loaded: what was loaded before and is not used any more goes."""
        self._before = {}

    def _linker(self, *, gathers: bool) -> wasmtime.Linker:
        if gathers not in self._linkers:
            self._linkers[gathers] = _define(self.engine, self._define_host, gathers)
        return self._linkers[gathers]

    def _copies(self, module: wasmtime.Module, gathers: bool) -> SerializedModule | None:
        if abi.fits():
            return None
        define_host = self._define_host
        try:
            return SerializedModule(module, lambda engine: _define(engine, define_host, gathers))
        except OSError as error:
            raise _refuse(f"cannot be kept in memory: {error.strerror}") from None

    def _module(self, source: WasmSource) -> wasmtime.Module:
        if self._cache is None:
            return self._compile(source)
        key = f"{source.digest}-{WASMTIME_VERSION}-{_SETTINGS_DIGEST}"
        if module := self._cached(self._cache, key):
            self.loads["cache"] += 1
            return module
        try:
            with self._cache.lock(key):
                if module := self._cached(self._cache, key):  # compiled by another process meanwhile
                    self.loads["cache"] += 1
                    return module
                module = self._compile(source)
                self._cache.store(key, module.serialize())
        except OSError as error:
            self.warnings.append(f"{self._cache.directory}: the cache cannot be written ({error.strerror})")
            return module or self._compile(source)
        # Mapped from the file, the machine code is shared by all workers.
        return self._cached(self._cache, key) or module

    def _cached(self, cache: ArtefactCache, key: str) -> wasmtime.Module | None:
        path = cache.find(key)
        if path is None:
            if cache.has(key):
                self.warnings.append(f"{cache.directory}: the artefact {key} was changed; it is compiled again")
            return None
        try:
            return wasmtime.Module.deserialize_file(self.engine, str(path))
        except wasmtime.WasmtimeError as error:
            self.warnings.append(f"{path}: compiled again, because: {_first_line(error)}")
            return None

    def _compile(self, source: WasmSource) -> wasmtime.Module:
        data = source.data
        if data.startswith(_COMPONENT):
            raise _refuse("is a WebAssembly component; build a core module for WASI preview 1 (wasm32-wasip1)")
        try:
            if not data.startswith(b"\0asm"):
                data = bytes(wasmtime.wat2wasm(data)) if source.name.endswith(".wat") else b""
            if not data:
                raise _refuse("is not a WebAssembly module; name a .wasm or .wat file")
            self.loads["compiler"] += 1
            with self._on_compile(source):
                return wasmtime.Module(self.engine, data)
        except wasmtime.WasmtimeError as error:
            if "pooling allocator" in str(error):
                advice = "raise memory, memories, tables or table_elements in limits"
                raise _refuse(f"needs more than its limits allow ({_lines(error)}); {advice}") from None
            raise _refuse(f"does not compile: {_lines(error)}") from None

    def _check_imports(self, module: wasmtime.Module, linker: wasmtime.Linker) -> None:
        store = wasmtime.Store(self.engine)
        problems = []
        for wanted in module.imports:
            name = f"{wanted.module}.{wanted.name}"
            try:
                offered = linker.get(store, wanted.module, wanted.name or "")
            except wasmtime.WasmtimeError:
                problems.append(Problem("", f"imports {name}, which this gateway does not provide"))
                continue
            if isinstance(offered, wasmtime.Func) and _signature(offered.type(store)) != _signature(wanted.type):
                problems.append(Problem("", f"imports {name} with another signature than this gateway provides"))
        if problems:
            raise StartupError(*problems)

    def _warm_up(
        self, source: WasmSource, module: wasmtime.Module, linker: wasmtime.Linker, *, gathers: bool
    ) -> WarmModule:
        try:
            instance_pre = linker.instantiate_pre(module)
        except wasmtime.WasmtimeError as error:
            raise _refuse(f"cannot be linked: {_lines(error)}") from None
        functions = frozenset(
            export.name
            for export in module.exports
            if isinstance(export.type, wasmtime.FuncType) and not export.type.params and not export.type.results
        )
        called = {f"{wanted.module}.{wanted.name}" for wanted in module.imports}
        exports = tuple(export.name for export in module.exports if isinstance(export.type, wasmtime.FuncType))
        return WarmModule(
            source.name,
            source.digest,
            instance_pre,
            functions,
            exports,
            is_reactor="_initialize" in functions,
            imports=frozenset(wanted.module for wanted in module.imports),
            reads_arguments=not called.isdisjoint((f"{_WASI}.args_get", f"{_WASI}.args_sizes_get")),
            reads_environment=not called.isdisjoint((f"{_WASI}.environ_get", f"{_WASI}.environ_sizes_get")),
            meets_epochs=not gathers and called.isdisjoint(_LONG) and all(map(_is_wasi, called)) and _is_short(source),
            copies=self._copies(module, gathers),
        )


def _define(engine: wasmtime.Engine, define_host: DefineHost, gathers: bool) -> wasmtime.Linker:
    linker = wasmtime.Linker(engine)
    linker.allow_shadowing = True
    linker.define_wasi()
    define_host(linker, gathers)
    return linker


def _is_wasi(name: str) -> bool:
    return name.startswith(f"{_WASI}.")


def _is_short(source: WasmSource) -> bool:
    data = source.data if source.data.startswith(b"\0asm") else bytes(wasmtime.wat2wasm(source.data))
    return largest_function(data) <= _SHORT


def _signature(type_: object) -> tuple[list[str], list[str]] | None:
    if not isinstance(type_, wasmtime.FuncType):
        return None
    return [str(value) for value in type_.params], [str(value) for value in type_.results]


def _refuse(what: str) -> StartupError:
    return StartupError(Problem("", what))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _lines(error: Exception) -> str:
    """wasmtime's message and its causes on one line."""
    lines = (line.strip() for line in str(error).splitlines())
    return ": ".join(line for line in lines if line and line != "Caused by:")


# wasmtime compares an artefact's compiler settings itself; the digest only keeps different ones apart on disk.
_SETTINGS_DIGEST = hashlib.sha256(f"epoch,multi-memory,stack={MAX_WASM_STACK}".encode()).hexdigest()[:12]
