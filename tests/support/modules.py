"""Modules with types for which wasmtime's C API has no notation, and modules that only look alike."""

from __future__ import annotations

import wasmtime


def binary(fields: str) -> bytes:
    """A module of these fields in the binary format."""
    return bytes(wasmtime.wat2wasm(f"(module {fields})"))


_START = '(func (export "_start"))'
_TYPE = "(type $t (func))"
_WASI = '(import "wasi_snapshot_preview1" "fd_close" (func (param {}) (result i32)))'

UNDESCRIBED = {
    "import of WASI with v128": (_WASI.format("v128"), "import wasi_snapshot_preview1.fd_close", "type v128"),
    "import of WASI with anyref": (
        _WASI.format("anyref"),
        "import wasi_snapshot_preview1.fd_close",
        "type (ref null any)",
    ),
    "import of anybody": ('(import "a" "b" (func (result exnref)))', "import a.b", "type (ref null exn)"),
    "import of a global": ('(import "a" "b" (global (mut v128)))', "import a.b", "type v128"),
    "import of a table": ('(import "a" "b" (table 1 i31ref))', "import a.b", "type (ref null i31)"),
    "import of a large table": ('(import "a" "b" (table i64 0x100000000 funcref))', "import a.b", "limits of more"),
    "export with v128": ('(func (export "f") (result i32 v128) unreachable)', "export f", "type v128"),
    "export of a reference without null": (
        '(func (export "f") (param (ref extern)))',
        "export f",
        "type (ref extern)",
    ),
    "export of a typed reference": (
        f'{_TYPE} (func (export "f") (param (ref null $t)))',
        "export f",
        "type (ref null 0)",
    ),
    "export of a global": ('(global (export "g") v128 (v128.const i64x2 0 11))', "export g", "type v128"),
    "export of an import": (
        '(import "a" "b" (func (param structref))) (export "f" (func 0))',
        "import a.b",
        "type (ref",
    ),
    "export of a table": ('(table (export "t") 1 arrayref)', "export t", "type (ref null array)"),
    "export of a table with an initial value": (
        f'{_TYPE} (func $f) (table (export "t") 1 (ref $t) (ref.func $f))',
        "export t",
        "type (ref 0)",
    ),
    "export of a large table": (
        '(table (export "t") i64 1 0xffffffffffffffff funcref)',
        "export t",
        "limits of more than 32 bits",
    ),
}
"""Fields of a module, the import or export, and what it has. wasmtime validates each."""

LOADED = {
    "v128 inside": "(func $f (param v128)) (global v128 (v128.const i64x2 0 0))",
    "references inside": f"{_TYPE} (func $f (param (ref null $t) anyref exnref)) (table 1 (ref null $t))",
    "structures inside": "(type $s (struct (field i8) (field (mut (ref null any))))) (func $f (param (ref $s)))",
    "functions and tables of the C API": (
        '(func (export "f") (param funcref externref)) (table (export "t") 1 externref)'
        ' (table (export "u") 1 0xffffffff funcref) (table (export "v") i64 1 0xffffffff funcref)'
    ),
    "globals of the C API": (
        '(global (export "g") (mut externref) (ref.null extern)) (global (export "h") f64 (f64.const 1))'
    ),
    "tags": '(tag (export "t") (param v128)) (tag (param i32))',
    "a memory of 64 bits": '(memory (export "m") i64 1)',
    "recursive types": '(rec (type $a (sub (func))) (type (struct))) (func (export "f") (type $a))',
}
"""Fields of modules that are served."""

DISABLED = {
    "pages of one byte": '(memory (export "m") 1 (pagesize 1))',
    "continuations": '(type $f (func)) (type $c (cont $f)) (func (export "f") (param (ref null $c)))',
    "shared functions": '(type (shared (func))) (import "a" "b" (func (type 0)))',
    "shared globals": '(import "a" "b" (global (shared i32)))',
}
"""Fields with types of proposals that wasmtime has disabled."""


def started(fields: str) -> str:
    """The same fields with an entrypoint."""
    return f"{fields} {_START}"
