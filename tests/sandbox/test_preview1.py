"""WASI preview 1 for guests without volumes: complete, with the signatures of wasmtime's own."""

from __future__ import annotations

import wasmtime

from tests.support.sandbox import compiler
from tests.support.wasi import MODULE, SIGNATURES
from wagi_gateway.sandbox import preview1
from wagi_gateway.sandbox.backend import choose

HOSTS = (*preview1.STREAMS, *preview1.PROCESS, *preview1.NO_FILES)
WASMTIMES = {"clock_res_get", "clock_time_get", "proc_raise"}
"""The functions that stay wasmtime's: they read the clock, or end the guest."""


def signatures(linker: wasmtime.Linker) -> dict[str, tuple[list[str], list[str]]]:
    """The parameters and results of all functions of WASI in a linker."""
    store = wasmtime.Store(linker.engine)
    found = {}
    for name in SIGNATURES:
        function = linker.get(store, MODULE, name)
        assert isinstance(function, wasmtime.Func)
        kind = function.type(store)
        found[name] = [str(one) for one in kind.params], [str(one) for one in kind.results]
    return found


def wasmtimes() -> wasmtime.Linker:
    linker = wasmtime.Linker(compiler().engine)
    linker.define_wasi()
    return linker


def test_no_function_is_missing() -> None:
    names = [host.name for host in HOSTS]
    assert sorted(names) == sorted(SIGNATURES.keys() - WASMTIMES)
    assert {host.module for host in HOSTS} == {MODULE}


def test_the_signatures_are_wasmtimes() -> None:
    linker = wasmtimes()
    expected = signatures(linker)
    linker.allow_shadowing = True
    for host in HOSTS:
        choose().define(linker, host)
    assert signatures(linker) == expected


def test_each_function_fails_with_an_error_of_wasi() -> None:
    assert {host.failed for host in HOSTS} == {29}


def test_the_table_of_the_tests_is_complete() -> None:
    kinds = {"i": "i32", "I": "i64"}
    parameters = {name: [kinds[kind] for kind in types] for name, types in SIGNATURES.items()}
    assert {name: found for name, (found, _) in signatures(wasmtimes()).items()} == parameters


def test_types_in_the_text_format() -> None:
    assert [preview1.wasm_types(parameters) for parameters in ("", "i", "iIi")] == ["", "i32", "i32 i64 i32"]
