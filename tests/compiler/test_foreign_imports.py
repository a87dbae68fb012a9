"""Advice for modules that were built for another host."""

from __future__ import annotations

import pytest

from wagi_gateway.compiler.externs import FunctionType, Import
from wagi_gateway.compiler.foreign_imports import describe

TYPE = FunctionType((), ())


def described(*names: tuple[str, str]) -> list[str]:
    return [problem.what for problem in describe(Import(module, name, TYPE) for module, name in names)]


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("wasi_unstable", "rebuild it for wasm32-wasip1"),
        ("wasi:cli/environment@0.2.0", "component (WASI preview 2); rebuild it for wasm32-wasip1"),
        ("wasi:http/types@0.2.3", "component (WASI preview 2)"),
        ("wasi", "needs threads"),
        ("env", "-sSTANDALONE_WASM (Emscripten)"),
        ("env", "@assemblyscript/wasi-shim (AssemblyScript)"),
        ("gojs", "build it with GOOS=wasip1"),
        ("go", "build it with GOOS=wasip1"),
        ("__wbindgen_placeholder__", "without wasm-bindgen"),
        ("__wbindgen_externref_xform__", "without wasm-bindgen"),
        ("wbg", "without wasm-bindgen"),
        ("wasix_32v1", "rebuild it for wasm32-wasip1"),
    ],
)
def test_a_known_host(module: str, advice: str) -> None:
    (problem,) = described((module, "f"))
    assert problem.startswith(f"imports {module}.f, which this gateway does not provide; ")
    assert advice in problem


@pytest.mark.parametrize(
    ("module", "names", "advice"),
    [
        ("env", ("console.log", "abort"), "@assemblyscript/wasi-shim"),
        ("env", ("f", "seed"), "@assemblyscript/wasi-shim"),
        ("env", ("emscripten_memcpy_js",), "-sSTANDALONE_WASM"),
        ("env", ("__syscall_openat", "invoke_vii"), "-sSTANDALONE_WASM"),
        ("env", ("_abort_js",), "-sSTANDALONE_WASM"),
        ("a", ("a", "b"), "-sSTANDALONE_WASM"),
        ("env", ("proxy_log",), "proxy-wasm filter"),
        ("env", ("memory",), "--import-memory"),
        ("gojs", ("runtime.ticks", "syscall/js.valueGet"), "GOOS=wasip1"),
        ("./hello_bg.js", ("__wbindgen_throw",), "without wasm-bindgen"),
        ("rb-js-abi-host", ("eval-js: func(code: string)",), "ruby-3.4-wasm32-unknown-wasip1-full.tar.gz"),
        ("[export]wasi:io/poll", ("x",), "component"),
        ("javy_quickjs_provider_v3", ("invoke",), "without -C dynamic"),
        ("wasi_ephemeral_nn", ("load",), "WASI preview 1 alone"),
        ("./main.mjs", ("x",), "it calls JavaScript"),
        ("", ("b",), "Porffor"),
        ("wasi_unstable", ("fd_write", "fd_read"), "rebuild it for wasm32-wasip1"),
        ("wasi_snapshot_preview1", ("sock_open", "sock_bind"), "sockets are WasmEdge's"),
        ("GOT.mem", ("errno",), "without -shared"),
        ("asm2wasm", ("f64-rem",), "-sSTANDALONE_WASM"),
        ("env", ("runtime.ticks", "syscall/js.valueGet"), "tinygo build -target=wasip1"),
    ],
)
def test_one_line_of_advice_for_an_import_module(module: str, names: tuple[str, ...], advice: str) -> None:
    (problem,) = described(*((module, name) for name in names))
    assert advice in problem
    assert problem.startswith(f"imports {module}.{names[0]}")


@pytest.mark.parametrize("module", ["host", "ic0", "wasi_unstable_", "environment", ""])
def test_one_line_for_an_unknown_host(module: str) -> None:
    (problem,) = described((module, "f"), (module, "g"))
    assert problem.startswith(f"imports {module}.f and 1 more of {module}, which this gateway does not provide; ")
    assert "build a program (with main) for WASI preview 1, such as wasm32-wasip1, or set missing_imports" in problem


def test_each_function_that_is_missing_in_a_module_of_the_gateway() -> None:
    module = "wasi_snapshot_preview1"
    assert described((module, "f"), (module, "g")) == [
        f"imports {module}.{name}, which this gateway does not provide" for name in "fg"
    ]


def test_the_problems_are_bounded() -> None:
    problems = described(*(("wasi_snapshot_preview1", str(number)) for number in range(1000)))
    assert len(problems) == 101
    assert problems[-1] == "imports 900 more that this gateway does not provide"


def test_imports_of_many_modules_are_counted() -> None:
    problems = described(*((str(number), "a") for number in range(250)), ("999", "b"))
    assert problems[-1] == "imports 151 more that this gateway does not provide"
