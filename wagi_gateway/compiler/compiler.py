"""The compiler: loads each module once, from the artefact cache or from its source, and links it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import TypeVar

import wasmtime
from filelock import Timeout
from wasmtime.component import Component

from ..config.settings import CompilerConfig
from ..errors import MAX_PROBLEMS, Problem, StartupError
from ..sources.file import WasmSource
from . import abi, foreign_imports
from .abi import WASMTIME_VERSION
from .binary import COMPONENT, MAGIC, Malformed, largest_function
from .bridged import count_bridges
from .bulk_operations import make_interruptible
from .cache import ArtefactCache
from .chunked_functions import CHUNK
from .compilation import POLL_INTERVAL, CompilationFailed, CompilerProcess, Wait, one_line
from .component import WarmComponent, find_problem, find_run
from .component_binary import ComponentExterns
from .engine import MAX_WASM_STACK
from .externs import Externs, ExternType, FunctionType, Import, MemoryType
from .serialized_module import SerializedModule
from .start_section import defer_start
from .warm_module import WarmGuest, WarmModule

_WASI = "wasi_snapshot_preview1"
_WASMTIME_FUNCTIONS = frozenset(f"{_WASI}.{name}" for name in ("clock_res_get", "clock_time_get", "proc_raise"))
"""The functions of wasmtime's WASI that the gateway does not replace (`sandbox.preview1`)."""
_MAX_READ = 2**20
"""Bytes of a module whose code the gateway reads itself: that takes a second at worst. What is larger is not quick."""
_MAX_IMPORTS = 1000
"""Imports of a module that is served. There are fewer functions to import; each import takes time of each guest."""
_MAX_SHORT_FUNCTION = 128 * 1024
"""Bytes of a function body. Epochs are checked on entry and in loops; a body of this size has room for some ten
thousand calls in a row, a fifth of a second at worst."""

_INITIALIZE, _WITH_CODE = FunctionType((), ()), FunctionType((), ("i32",))
_ENTRYPOINTS = _INITIALIZE, _WITH_CODE
_NO_ENTRYPOINT = (
    "exports no function without parameters that returns nothing or an exit code (i32), so there is nothing to call; "
    "build a program (with main) for "
    "wasm32-wasip1, not for wasm32-unknown-unknown"
)

Names = Collection[tuple[str, str]]
"""Module and name of imports."""
DefineHost = Callable[[wasmtime.Linker, bool, Names | None], None]
"""Defines the host functions in a linker; the flag says whether the guests have files. With names it defines those
alone: the public API makes a linker for each guest."""
DefineMissing = Callable[[wasmtime.Linker, tuple[str, str], Import], None]
"""Defines a function that traps in a linker, by module and name, for an import that the gateway does not provide."""
Compiled = TypeVar("Compiled", wasmtime.Module, Component)
OnCompile = Callable[[WasmSource], AbstractContextManager[object]]
"""Returns a context manager that wraps a compilation (for progress output)."""


def _define_nothing(_linker: wasmtime.Linker, _names: tuple[str, str], _wanted: Import) -> None:
    pass


class Compiler:
    """Loads each module once: from the cache, or by compiling it and storing the artefact."""

    def __init__(
        self,
        engine: wasmtime.Engine,
        define_host: DefineHost,
        cache: ArtefactCache | None = None,
        on_compile: OnCompile | None = None,
        previous: Compiler | None = None,
        *,
        settings: CompilerConfig | None = None,
        cancelled: threading.Event | None = None,
        has_source_lines: bool = False,
        define_missing: DefineMissing = _define_nothing,
    ) -> None:
        """`on_compile` wraps each compilation, which the log reports else; modules that `previous`, of the same engine,
        has loaded are not loaded again. Setting `cancelled`, on any thread, ends a load with LoadCancelled.
        `has_source_lines` is that of `engine`.
        """
        self.engine = engine
        self.warnings: list[str] = []
        self.loads: Counter[str] = Counter()
        """Loaded modules by the origin of their machine code: `cache` or `compiler`."""
        self.seconds: dict[str, float] = {}
        """Seconds of each compilation, by the module's digest."""
        self._cache = cache
        self._on_compile = on_compile or (lambda _source: nullcontext())
        self._cancelled = cancelled or threading.Event()
        self._process = CompilerProcess(
            settings or CompilerConfig(),
            self._cancelled,
            is_silent=on_compile is not None,
            has_source_lines=has_source_lines,
        )
        self._has_source_lines = has_source_lines
        self._warm: dict[tuple[str, bool, bool], WarmGuest] = {}
        self._modules: dict[tuple[str, bool], wasmtime.Module] = previous._modules.copy() if previous else {}
        self._define_host = define_host
        self._define_missing = define_missing
        self._linkers: dict[bool, wasmtime.Linker] = previous._linkers if previous else {}
        self._previous = previous._warm if previous else {}

    def load(
        self,
        source: WasmSource,
        *,
        has_files: bool = False,
        needs_entrypoint: bool = False,
        allows_missing: bool = False,
    ) -> WarmGuest:
        """Loads a module or component, once for each digest. Raises StartupError.

        `has_files` says that the module has volumes, `needs_entrypoint` that a module without a function that could be
        an entrypoint is refused, `allows_missing` that imported functions may be missing, whose calls trap.
        """
        key = source.digest, has_files, allows_missing
        if known := self._previous.get(key):
            self._warm[key] = known
        if key not in self._warm:
            data = _binary(source)
            if data.startswith(COMPONENT):
                self._warm[key] = self._load_component(source, data)
            else:
                self._warm[key] = self._load_module(
                    source, data, has_files=has_files, needs_entrypoint=needs_entrypoint, allows_missing=allows_missing
                )
        return self._warm[key]

    def _load_module(
        self, source: WasmSource, data: bytes, *, has_files: bool, needs_entrypoint: bool, allows_missing: bool
    ) -> WarmModule:
        linker = self._linker(has_files=has_files)
        externs = self._externs(source, data)
        # Before the compilation, which may take minutes. Types of disabled proposals are left to wasmtime's words.
        is_checked = any(isinstance(wanted.type, (FunctionType, MemoryType)) for wanted in externs.imports)
        missing: tuple[Import, ...] = ()
        if is_checked:
            missing = self._check_imports(externs, linker, allows_missing=allows_missing)
        if needs_entrypoint and all(export.type not in _ENTRYPOINTS for export in externs.exports):
            raise _refuse(_NO_ENTRYPOINT)
        data, start = defer_start(data) if has_files else (data, None)
        module = self._module(source, data, has_deferred_start=start is not None)
        if not is_checked:
            missing = self._check_imports(externs, linker, allows_missing=allows_missing)
        return self._link(source, data, externs, module, linker, has_files=has_files, start=start, missing=missing)

    def _load_component(self, source: WasmSource, data: bytes) -> WarmComponent:
        if warning := abi.warning():
            raise _refuse(f"is a component, for which another release is needed: {warning}")
        # The imports are known before the compilation, which may take a minute.
        try:
            externs, bridges = ComponentExterns.read(data), count_bridges(data)
        except Malformed as malformed:
            raise _refuse(f"is a component that cannot be read: {malformed}") from None
        if problem := find_problem(externs):
            raise StartupError(problem)
        component = self._load(Component, source, data, "")
        warm = WarmComponent.create(source.name, source.digest, component, find_run(externs) or "", bridges)
        if warm is None:
            raise _refuse("is a component whose wasi:cli/run has no function run; build a program (with main)")
        return warm

    def drop_previous(self) -> None:
        """Releases the modules of the previous compiler that were not loaded again."""
        self._previous = {}
        used = {module.module for module in self._warm.values() if isinstance(module, WarmModule)}
        self._modules = {key: module for key, module in self._modules.items() if module in used}

    def close(self) -> None:
        """Ends the process that compiles. Called once every module is loaded."""
        self._process.close()

    def _linker(self, *, has_files: bool) -> wasmtime.Linker:
        if has_files not in self._linkers:
            self._linkers[has_files] = _create_linker(self.engine, self._define_host, has_files, None)
        return self._linkers[has_files]

    def _linker_with_missing(self, linker: wasmtime.Linker, missing: tuple[Import, ...]) -> wasmtime.Linker:
        for wanted in missing:
            self._define_missing(linker, (wanted.module, wanted.name), wanted)
        return linker

    def _serialize(
        self, module: wasmtime.Module, has_files: bool, names: Names, missing: tuple[Import, ...]
    ) -> SerializedModule | None:
        if abi.has_known_abi():
            return None
        define_host, add_missing = self._define_host, self._linker_with_missing
        try:
            return SerializedModule(
                module,
                lambda engine: add_missing(_create_linker(engine, define_host, has_files, names), missing),
                has_source_lines=self._has_source_lines,
            )
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

    def _module(self, source: WasmSource, data: bytes, *, has_deferred_start: bool) -> wasmtime.Module:
        """The compiled module, compiled once for guests with and without files if it has no start section."""
        key = source.digest, has_deferred_start
        if key not in self._modules:
            self._modules[key] = self._load(wasmtime.Module, source, data, "-start" if has_deferred_start else "")
        return self._modules[key]

    def _load(self, form: type[Compiled], source: WasmSource, data: bytes, variant: str) -> Compiled:
        """The machine code of a source, from the cache or compiled now; `variant` distinguishes it in the cache."""
        if self._cache is None:
            return self._compiled(form, source, data)
        key = f"{source.digest}-{WASMTIME_VERSION}-{_SETTINGS_DIGEST}{variant}"
        key += "-lines" if self._has_source_lines else ""
        if module := self._cached(form, self._cache, key):
            return module
        try:
            with self._locked(self._cache, key, source):
                # Another process may have compiled the module meanwhile.
                return self._cached(form, self._cache, key) or self._compiled(form, source, data, self._cache, key)
        except OSError as error:
            self._warn_unwritable(self._cache, error)
            return self._compiled(form, source, data)

    def _compiled(
        self, form: type[Compiled], source: WasmSource, data: bytes, cache: ArtefactCache | None = None, key: str = ""
    ) -> Compiled:
        """A module that is compiled now, and stored in `cache`."""
        artefact = self._compile(source, data)
        if cache:
            try:
                path = cache.store(key, artefact)
            except OSError as error:
                self._warn_unwritable(cache, error)
            else:
                # Machine code that is mapped from the cache is shared by all workers.
                return self._deserialize(form, path)
        return self._deserialize(form, artefact)

    def _warn_unwritable(self, cache: ArtefactCache, error: OSError) -> None:
        self.warnings.append(f"{cache.directory}: the cache cannot be written ({error.strerror})")

    @contextmanager
    def _locked(self, cache: ArtefactCache, key: str, source: WasmSource) -> Iterator[None]:
        """Holds the lock for compiling `key`. Raises OSError, LoadCancelled."""
        lock = cache.lock(key)
        wait = Wait(f"waiting for another process that compiles {source.name}", self._cancelled)
        while True:
            try:
                with lock.acquire(timeout=POLL_INTERVAL):
                    yield
                return
            except Timeout:
                wait.check()

    def _cached(self, form: type[Compiled], cache: ArtefactCache, key: str) -> Compiled | None:
        path = cache.find(key)
        if path is None:
            if cache.has(key):
                self.warnings.append(f"{cache.directory}: the artefact {key} was changed; it is compiled again")
            return None
        try:
            module = self._deserialize(form, path)
        except wasmtime.WasmtimeError as error:
            self.warnings.append(f"{cache.directory / path.name}: compiled again, because: {_first_line(error)}")
            return None
        self.loads["cache"] += 1
        return module

    def _deserialize(self, form: type[Compiled], artefact: Path | bytearray) -> Compiled:
        """The module of an artefact. Raises WasmtimeError, and StartupError for a module over the pool's limits."""
        try:
            if isinstance(artefact, Path):
                return form.deserialize_file(self.engine, str(artefact))
            return form.deserialize(self.engine, artefact)
        except wasmtime.WasmtimeError as error:
            if "pooling allocator" not in str(error):
                raise
            if "instances" in str(error):  # of a component; they have no setting
                raise _refuse(f"has too many parts: {one_line(str(error))}") from None
            advice = "raise memory, memories, tables or table_elements in limits"
            raise _refuse(f"needs more than its limits allow ({one_line(str(error))}); {advice}") from None

    def _compile(self, source: WasmSource, data: bytes) -> bytearray:
        """The artefact of a module that is compiled now. Raises StartupError, LoadCancelled."""
        self.loads["compiler"] += 1
        started = time.monotonic()
        with self._on_compile(source):
            try:
                artefact = self._process.compile(source.name, data)
            except CompilationFailed as failed:
                raise _refuse(str(failed)) from None
        self.seconds[source.digest] = time.monotonic() - started
        return artefact

    def _check_imports(self, externs: Externs, linker: wasmtime.Linker, *, allows_missing: bool) -> tuple[Import, ...]:
        """Returns the functions that are missing, if they may be. Raises StartupError."""
        store = wasmtime.Store(self.engine)
        missing: list[Import] = []
        problems: list[Problem] = []
        for wanted in externs.imports:
            if len(problems) >= MAX_PROBLEMS:
                break
            try:
                offered = linker.get(store, wanted.module, wanted.name)
            except wasmtime.WasmtimeError:
                missing.append(wanted)
                continue
            if isinstance(offered, wasmtime.Func) and _signature(offered.type(store)) != wanted.type:
                name = f"{wanted.module}.{wanted.name}"
                problems.append(Problem("", f"imports {name} with another signature than this gateway provides"))
        if allows_missing:
            problems += islice(_untrappable(missing), MAX_PROBLEMS)
        else:
            problems += foreign_imports.describe(missing)
        if not problems and len(externs.imports) > _MAX_IMPORTS:
            problems.append(Problem("", f"has {len(externs.imports)} imports, more than {_MAX_IMPORTS}"))
        if not problems and (problem := _missing_memory(externs)):
            problems.append(problem)
        if problems:
            raise StartupError(*problems)
        return tuple(missing)

    def _link(
        self,
        source: WasmSource,
        data: bytes,
        externs: Externs,
        module: wasmtime.Module,
        linker: wasmtime.Linker,
        *,
        has_files: bool,
        start: bytes | None,
        missing: tuple[Import, ...],
    ) -> WarmModule:
        if missing:  # in a linker of its own: another module must not find them
            new = _create_linker(self.engine, self._define_host, has_files, None)
            linker = self._linker_with_missing(new, missing)
        try:
            instance_pre = linker.instantiate_pre(module)
        except wasmtime.WasmtimeError as error:
            raise _refuse(f"cannot be linked: {one_line(str(error))}") from None
        exported = {export.name: export.type for export in externs.exports if isinstance(export.type, FunctionType)}
        functions = frozenset(name for name, kind in exported.items() if kind in _ENTRYPOINTS)
        import_names = tuple((wanted.module, wanted.name) for wanted in externs.imports)
        imports = frozenset(module for module, _ in import_names)
        called = {f"{wanted.module}.{wanted.name}" for wanted in externs.imports if wanted not in missing}
        return WarmModule(
            name=source.name,
            digest=source.digest,
            module=module,
            import_names=import_names,
            instance_pre=None if has_files and _WASI in imports else instance_pre,
            functions=functions,
            functions_with_code=frozenset(name.encode() for name in functions if exported[name] == _WITH_CODE),
            exports=tuple(exported),
            is_reactor=exported.get("_initialize") == _INITIALIZE,
            start=start,
            needs_wasi=has_files or not called.isdisjoint(_WASMTIME_FUNCTIONS),
            imports=imports,
            missing=missing,
            is_interruptible=not has_files
            and all(map(_is_wasi, called))
            and len(data) <= _MAX_READ
            and make_interruptible(data).is_complete
            and largest_function(data) <= _MAX_SHORT_FUNCTION,
            serialized=self._serialize(module, has_files, import_names, missing),
        )


def _create_linker(
    engine: wasmtime.Engine, define_host: DefineHost, has_files: bool, names: Names | None
) -> wasmtime.Linker:
    linker = wasmtime.Linker(engine)
    linker.allow_shadowing = True
    linker.define_wasi()
    define_host(linker, has_files, names)
    return linker


def _untrappable(missing: Sequence[Import]) -> Iterator[Problem]:
    """The problems of missing imports that are no functions, or have two signatures."""
    types: dict[tuple[str, str], ExternType] = {}
    for wanted in missing:
        name = f"{wanted.module}.{wanted.name}"
        if not isinstance(wanted.type, FunctionType):
            what = f"imports the {wanted.type} {name}, which this gateway does not provide"
            yield Problem("", f'{what}; missing_imports = "trap" is for functions alone')
        elif types.setdefault((wanted.module, wanted.name), wanted.type) != wanted.type:
            yield Problem("", f"imports {name} twice, with two signatures")


def _is_wasi(name: str) -> bool:
    return name.startswith(f"{_WASI}.")


def _binary(source: WasmSource) -> bytes:
    """The binary form of a module. Raises StartupError."""
    data = source.data
    if data.startswith(MAGIC):
        return data
    if not data or not source.name.endswith(".wat"):
        raise _refuse("is not a WebAssembly module; name a .wasm or .wat file")
    try:
        return bytes(wasmtime.wat2wasm(data))
    except wasmtime.WasmtimeError as error:
        raise _refuse_uncompiled(error) from None


def _missing_memory(externs: Externs) -> Problem | None:
    """The problem of a module that calls the host, whose functions need a 32-bit memory, and exports none."""
    memories = [kind for name, kind in externs.exports if name == "memory" and isinstance(kind, MemoryType)]
    needing = [f"{wanted.module}.{wanted.name}" for wanted in externs.imports if memories or wanted.module == _WASI]
    if not needing or any(not memory.limits.is_64 for memory in memories):
        return None
    if memories:
        return Problem(
            "", f"exports a memory with 64-bit addresses, and {needing[0]} has 32-bit ones; build it for wasm32"
        )
    return Problem("", f'exports no memory with the name "memory", which {needing[0]} needs; export it')


def _signature(offered: wasmtime.FuncType) -> FunctionType:
    """The type of a function of the gateway, all of which have types that the C API can describe."""
    return FunctionType(tuple(map(str, offered.params)), tuple(map(str, offered.results)))


def _refuse(what: str) -> StartupError:
    return StartupError(Problem("", what))


def _refuse_uncompiled(error: wasmtime.WasmtimeError) -> StartupError:
    return _refuse(f"does not compile: {one_line(str(error))}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


# wasmtime compares an artefact's compiler settings itself; the digest keeps artefacts of different settings apart.
_SETTINGS = f"epoch,multi-memory,no-wasip3,stack={MAX_WASM_STACK},chunk={CHUNK}"
_SETTINGS_DIGEST = hashlib.sha256(_SETTINGS.encode()).hexdigest()[:12]
