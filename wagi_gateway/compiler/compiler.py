"""The compiler: loads each module once, from the artefact cache or from its source, and links it."""

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
from . import abi, foreign_imports
from .abi import WASMTIME_VERSION
from .binary import COMPONENT, MAGIC, Malformed, largest_function
from .cache import ArtefactCache
from .engine import MAX_WASM_STACK
from .externs import Externs, FunctionType, MemoryType

_WASI = "wasi_snapshot_preview1"
_SLOW_CALLS = frozenset((f"{_WASI}.poll_oneoff", f"{_WASI}.random_get"))
"""WASI functions that may run long without an epoch check: one sleeps, one takes seconds for a large buffer."""
_MAX_SHORT_FUNCTION = 128 * 1024
"""Bytes of a function body. Epochs are checked on entry and in loops; a body of this size has room for some ten
thousand calls in a row, a fifth of a second at worst."""

# File names in the messages of AssemblyScript's runtime; its strings are UTF-16.
_ASSEMBLYSCRIPT = "~lib/".encode("utf-16-le")

_ENTRYPOINT = FunctionType((), ())

DefineHost = Callable[[wasmtime.Linker, bool], None]
"""Defines the host functions in a linker; with the flag, also the `fd_write` that writes all buffers."""
OnCompile = Callable[[WasmSource], AbstractContextManager[object]]
"""Returns a context manager that wraps a compilation (for progress output)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmModule:
    """A compiled and linked module, which is instantiated once for each request."""

    name: str
    digest: str
    instance_pre: wasmtime.InstancePre
    functions: frozenset[str]
    """Exported functions without parameters and results: the possible entrypoints."""
    exports: tuple[str, ...]
    """All exported functions."""
    is_reactor: bool
    """Whether `_initialize` has to be called before the entrypoint (WASI application ABI)."""
    imports: frozenset[str]
    """The import modules, such as `wasi_snapshot_preview1`."""
    reads_arguments: bool
    """Whether the module imports `args_get` or `args_sizes_get`."""
    reads_environment: bool
    """Whether the module imports `environ_get` or `environ_sizes_get`."""
    is_interruptible: bool
    """Whether a guest reaches an epoch check, where it can be ended, at short intervals: no imported function waits or
    works for long, and no function body is long enough for very many calls in a row."""
    serialized: SerializedModule | None
    """The module for the public API, which needs an engine for each guest; None with the C API backend."""


class SerializedModule:
    """A serialized module in memory, for any number of engines.

    wasmtime's public API can end a guest that computes only by the engine's epoch, so each guest gets an engine of its
    own.
    """

    def __init__(self, module: wasmtime.Module, define: Callable[[wasmtime.Engine], wasmtime.Linker]) -> None:
        """Raises OSError when descriptors or memory run out."""
        self._create_linker = define
        # A file is mapped and shared; bytes would be copied for each engine.
        self._file = os.memfd_create("module")
        weakref.finalize(self, os.close, self._file)
        with open(self._file, "wb", closefd=False) as file:
            file.write(module.serialize())

    def instantiate(self, store: wasmtime.Store) -> wasmtime.Instance:
        """Instantiates the module in a store whose engine `create_plain_engine` made. Raises WasmtimeError, Trap."""
        module = wasmtime.Module.deserialize_file(store.engine, f"/dev/fd/{self._file}")
        return self._create_linker(store.engine).instantiate(store, module)


class Compiler:
    """Loads each module once: from the cache, or by compiling it and storing the artefact."""

    def __init__(
        self,
        engine: wasmtime.Engine,
        define_host: DefineHost,
        cache: ArtefactCache | None = None,
        on_compile: OnCompile | None = None,
        previous: Compiler | None = None,
    ) -> None:
        """`on_compile` wraps each compilation; modules that `previous`, of the same engine, has loaded are not loaded
        again."""
        self.engine = engine
        self.warnings: list[str] = []
        self.loads: Counter[str] = Counter()
        """Loaded modules by the origin of their machine code: `cache` or `compiler`."""
        self._cache = cache
        self._on_compile = on_compile or (lambda _source: nullcontext())
        self._warm: dict[tuple[str, bool], WarmModule] = {}
        self._define_host = define_host
        self._linkers: dict[bool, wasmtime.Linker] = previous._linkers if previous else {}
        self._previous = previous._warm if previous else {}

    def load(self, source: WasmSource, *, has_files: bool = False) -> WarmModule:
        """Loads a module, once for each digest. Raises StartupError.

        `has_files` says that the module has volumes.
        """
        # as-wasi, AssemblyScript's library, ignores how much fd_write has written: see sandbox.fd_write.
        needs_full_fd_write = not has_files and _ASSEMBLYSCRIPT in source.data
        key = source.digest, needs_full_fd_write
        if known := self._previous.get(key):
            self._warm[key] = known
        if key not in self._warm:
            linker = self._linker(needs_full_fd_write=needs_full_fd_write)
            data = _binary(source)
            externs = self._externs(source, data)
            module = self._module(source, data)
            self._check_imports(externs, linker)
            self._warm[key] = self._link(source, data, externs, module, linker, needs_full_fd_write=needs_full_fd_write)
        return self._warm[key]

    def drop_previous(self) -> None:
        """Releases the modules of the previous compiler that were not loaded again."""
        self._previous = {}

    def _linker(self, *, needs_full_fd_write: bool) -> wasmtime.Linker:
        if needs_full_fd_write not in self._linkers:
            self._linkers[needs_full_fd_write] = _create_linker(self.engine, self._define_host, needs_full_fd_write)
        return self._linkers[needs_full_fd_write]

    def _serialize(self, module: wasmtime.Module, needs_full_fd_write: bool) -> SerializedModule | None:
        if abi.has_known_abi():
            return None
        define_host = self._define_host
        try:
            return SerializedModule(module, lambda engine: _create_linker(engine, define_host, needs_full_fd_write))
        except OSError as error:
            raise _refuse(f"cannot be kept in memory: {error.strerror}") from None

    def _externs(self, source: WasmSource, data: bytes) -> Externs:
        """The imports and exports of a module that is fit to be given to wasmtime."""
        try:
            externs = Externs.read(data)
        except Malformed as malformed:
            self._compile(source, data)  # refuses it in more detail
            raise _refuse(f"cannot be read: {malformed}") from None
        if externs.has_shared_memory:
            raise _refuse("needs threads, which guests do not have: its memory is shared; build it without threads")
        if problems := externs.undescribed():
            raise StartupError(*problems)
        return externs

    def _module(self, source: WasmSource, data: bytes) -> wasmtime.Module:
        if self._cache is None:
            return self._compile(source, data)
        key = f"{source.digest}-{WASMTIME_VERSION}-{_SETTINGS_DIGEST}"
        if module := self._cached(self._cache, key):
            self.loads["cache"] += 1
            return module
        try:
            with self._cache.lock(key):
                if module := self._cached(self._cache, key):  # another process has compiled the module meanwhile
                    self.loads["cache"] += 1
                    return module
                module = self._compile(source, data)
                self._cache.store(key, module.serialize())
        except OSError as error:
            self.warnings.append(f"{self._cache.directory}: the cache cannot be written ({error.strerror})")
            return module or self._compile(source, data)
        # Machine code that is mapped from the file is shared by all workers.
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
            self.warnings.append(f"{cache.directory / path.name}: compiled again, because: {_first_line(error)}")
            return None

    def _compile(self, source: WasmSource, data: bytes) -> wasmtime.Module:
        self.loads["compiler"] += 1
        try:
            with self._on_compile(source):
                return wasmtime.Module(self.engine, data)
        except wasmtime.WasmtimeError as error:
            if "pooling allocator" in str(error):
                advice = "raise memory, memories, tables or table_elements in limits"
                raise _refuse(f"needs more than its limits allow ({_lines(error)}); {advice}") from None
            raise _refuse_uncompiled(error) from None

    def _check_imports(self, externs: Externs, linker: wasmtime.Linker) -> None:
        store = wasmtime.Store(self.engine)
        missing = []
        problems = []
        for wanted in externs.imports:
            try:
                offered = linker.get(store, wanted.module, wanted.name)
            except wasmtime.WasmtimeError:
                missing.append(wanted)
                continue
            if isinstance(offered, wasmtime.Func) and _signature(offered.type(store)) != wanted.type:
                name = f"{wanted.module}.{wanted.name}"
                problems.append(Problem("", f"imports {name} with another signature than this gateway provides"))
        problems += foreign_imports.describe(missing)
        if not problems and (problem := _missing_memory(externs)):
            problems.append(problem)
        if problems:
            raise StartupError(*problems)

    def _link(
        self,
        source: WasmSource,
        data: bytes,
        externs: Externs,
        module: wasmtime.Module,
        linker: wasmtime.Linker,
        *,
        needs_full_fd_write: bool,
    ) -> WarmModule:
        try:
            instance_pre = linker.instantiate_pre(module)
        except wasmtime.WasmtimeError as error:
            raise _refuse(f"cannot be linked: {_lines(error)}") from None
        exported = {export.name: export.type for export in externs.exports if isinstance(export.type, FunctionType)}
        functions = frozenset(name for name, kind in exported.items() if kind == _ENTRYPOINT)
        called = {f"{wanted.module}.{wanted.name}" for wanted in externs.imports}
        return WarmModule(
            name=source.name,
            digest=source.digest,
            instance_pre=instance_pre,
            functions=functions,
            exports=tuple(exported),
            is_reactor="_initialize" in functions,
            imports=frozenset(wanted.module for wanted in externs.imports),
            reads_arguments=not called.isdisjoint((f"{_WASI}.args_get", f"{_WASI}.args_sizes_get")),
            reads_environment=not called.isdisjoint((f"{_WASI}.environ_get", f"{_WASI}.environ_sizes_get")),
            is_interruptible=not needs_full_fd_write
            and called.isdisjoint(_SLOW_CALLS)
            and all(map(_is_wasi, called))
            and largest_function(data) <= _MAX_SHORT_FUNCTION,
            serialized=self._serialize(module, needs_full_fd_write),
        )


def _create_linker(engine: wasmtime.Engine, define_host: DefineHost, needs_full_fd_write: bool) -> wasmtime.Linker:
    linker = wasmtime.Linker(engine)
    linker.allow_shadowing = True
    linker.define_wasi()
    define_host(linker, needs_full_fd_write)
    return linker


def _is_wasi(name: str) -> bool:
    return name.startswith(f"{_WASI}.")


def _binary(source: WasmSource) -> bytes:
    """The binary form of a module. Raises StartupError."""
    data = source.data
    if data.startswith(COMPONENT):
        raise _refuse("is a WebAssembly component; build a core module for WASI preview 1 (wasm32-wasip1)")
    if data.startswith(MAGIC):
        return data
    if not data or not source.name.endswith(".wat"):
        raise _refuse("is not a WebAssembly module; name a .wasm or .wat file")
    try:
        return bytes(wasmtime.wat2wasm(data))
    except wasmtime.WasmtimeError as error:
        raise _refuse_uncompiled(error) from None


def _missing_memory(externs: Externs) -> Problem | None:
    """The problem of a module that calls WASI, whose functions all need the caller's memory, and exports none."""
    needing = next((f"{wanted.module}.{wanted.name}" for wanted in externs.imports if wanted.module == _WASI), None)
    if needing is None or any(name == "memory" and isinstance(kind, MemoryType) for name, kind in externs.exports):
        return None
    return Problem("", f'exports no memory with the name "memory", which {needing} needs; export it')


def _signature(offered: wasmtime.FuncType) -> FunctionType:
    """The type of a function of the gateway, all of which have types that the C API can describe."""
    return FunctionType(tuple(map(str, offered.params)), tuple(map(str, offered.results)))


def _refuse(what: str) -> StartupError:
    return StartupError(Problem("", what))


def _refuse_uncompiled(error: wasmtime.WasmtimeError) -> StartupError:
    return _refuse(f"does not compile: {_lines(error)}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _lines(error: Exception) -> str:
    """The message of a wasmtime error and its causes on one line."""
    lines = (line.strip() for line in str(error).splitlines())
    return ": ".join(line for line in lines if line and line != "Caused by:")


# wasmtime compares an artefact's compiler settings itself; the digest keeps artefacts of different settings apart.
_SETTINGS_DIGEST = hashlib.sha256(f"epoch,multi-memory,stack={MAX_WASM_STACK}".encode()).hexdigest()[:12]
