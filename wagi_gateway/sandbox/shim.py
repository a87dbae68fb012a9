"""The shim of a guest with volumes: it offers every import of the guest, and calls the adapted ones through a table.

`sandbox.adapter` describes the instances around the guest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import wasmtime

from ..compiler.compiler import DefineMissing
from ..compiler.externs import FunctionType, Import
from .experimental_http import EXPERIMENTAL_HTTP
from .host import HostImport
from .preview1 import DEVICES, DIRECTORIES, MODULE, NO_FILES, PROCESS, STREAMS, wasm_types

GATEWAY_MODULE = "wagi_gateway"
"""The import module of the shim for the gateway's own functions."""
_MISSING = "missing"
"""The import module of the shim for functions that the gateway does not provide; their names are numbers."""
SIGNATURES = {host.name: host.parameters for host in (*STREAMS, *NO_FILES)}
"""The parameters of each function of WASI that a guest with volumes may call."""
_STREAM_FUNCTIONS = {host.name for host in STREAMS}
ON_PATHS = {
    "path_create_directory": (2,),
    "path_filestat_get": (3,),
    "path_filestat_set_times": (3,),
    "path_link": (3, 6),
    "path_readlink": (2,),
    "path_remove_directory": (2,),
    "path_rename": (2, 5),
    "path_symlink": (1, 4),
    "path_unlink_file": (2,),
}
"""The functions on paths, and their parameters that are a path's length."""
ADAPTED = (*sorted(_STREAM_FUNCTIONS), "fd_readdir", *ON_PATHS, "path_open")
"""The functions that the adapter has, in the order of the table."""


def shim_linker(
    engine: wasmtime.Engine,
    define: Callable[[wasmtime.Linker, HostImport], None],
    define_missing: DefineMissing,
    missing: Sequence[Import] = (),
) -> wasmtime.Linker:
    """A linker with what the shim imports: wasmtime's WASI, and the gateway's functions, which `define` adds."""
    linker = wasmtime.Linker(engine)
    linker.allow_shadowing = True
    linker.define_wasi()
    for host in (*PROCESS, *EXPERIMENTAL_HTTP, *gateway_imports()):
        define(linker, host)
    for number, wanted in enumerate(missing):
        define_missing(linker, (_MISSING, str(number)), wanted)
    return linker


def gateway_imports() -> tuple[HostImport, ...]:
    """The gateway's functions that the shim imports for the adapter."""
    return tuple(host._replace(module=GATEWAY_MODULE) for host in (*STREAMS, *DIRECTORIES, *DEVICES))


def shim_exports(missing: Sequence[Import] = ()) -> dict[tuple[str, str], str]:
    """The shim's exports, by module and name of the imports that a guest with volumes may have."""
    names = [*((module, name) for module, name, _ in _unadapted()), *((MODULE, name) for name in ADAPTED)]
    trapping = {(wanted.module, wanted.name): f"{_MISSING} {number}" for number, wanted in enumerate(missing)}
    return {name: " ".join(name) for name in names} | trapping


@lru_cache(maxsize=64)
def shim_text(missing: tuple[FunctionType, ...] = ()) -> str:
    """The text of the shim; `missing` are the types of the guest's imports that trap."""
    hosts = gateway_imports()
    adapted = [(MODULE, name, type_text(SIGNATURES[name])) for name in ADAPTED]
    gateway = [(host.module, host.name, type_text(host.parameters)) for host in hosts]
    imports = (*adapted, *gateway, *_unadapted())
    functions = " ".join(f'$"{module} {name}"' for module, name, _ in (*adapted, *gateway))
    return "\n".join(
        (
            "(module",
            *(f'(import "{module}" "{name}" (func $"{module} {name}" {type_}))' for module, name, type_ in imports),
            *(
                f'(import "{_MISSING}" "{number}" (func $"{_MISSING} {number}" {_missing_type(kind)}))'
                f'(export "{_MISSING} {number}" (func $"{_MISSING} {number}"))'
                for number, kind in enumerate(missing)
            ),
            *(f'(export "{module} {name}" (func $"{module} {name}"))' for module, name, _ in _unadapted()),
            *(
                f'(func (export "{module} {name}") {type_} {arguments(name)}'
                f" (call_indirect {type_} (i32.const {slot})))"
                for slot, (module, name, type_) in enumerate(adapted)
            ),
            f'(table (export "table") {2 * len(adapted) + len(gateway)} funcref)',
            f"(elem (i32.const {len(adapted)}) func {functions})",
            ")",
        )
    )


def _unadapted() -> list[tuple[str, str, str]]:
    """Import module, name and type of the functions that the guest calls directly."""
    own = [
        (host.module, host.name, type_text(host.parameters, host.has_result)) for host in (*PROCESS, *EXPERIMENTAL_HTTP)
    ]
    files = [(MODULE, name, type_text(parameters)) for name, parameters in SIGNATURES.items() if name not in ADAPTED]
    clocks = [
        (MODULE, "clock_res_get", type_text("ii")),
        (MODULE, "clock_time_get", type_text("iIi")),
        (MODULE, "proc_raise", type_text("i")),
    ]
    return own + files + clocks


def types_of(missing: Sequence[Import]) -> tuple[FunctionType, ...]:
    """The types of imported functions."""
    return tuple(wanted.type for wanted in missing if isinstance(wanted.type, FunctionType))


def _missing_type(kind: FunctionType) -> str:
    return f"(param {' '.join(kind.parameters)}) (result {' '.join(kind.results)})"


def type_text(parameters: str, has_result: bool = True) -> str:
    """The type of a function with parameters as of a HostImport, in the text format."""
    return f"(param {wasm_types(parameters)}){' (result i32)' if has_result else ''}"


def arguments(name: str) -> str:
    """The own parameters of a function with the type of `name`, as the arguments of a call."""
    return " ".join(f"(local.get {index})" for index in range(len(SIGNATURES[name])))
