"""The shim of guests with volumes; `test_adapter` runs guests behind it."""

from __future__ import annotations

import pytest

from wagi_gateway.compiler.externs import FunctionType, Import
from wagi_gateway.sandbox.experimental_http import EXPERIMENTAL_HTTP
from wagi_gateway.sandbox.preview1 import NO_FILES, PROCESS, STREAMS
from wagi_gateway.sandbox.shim import shim_exports, types_of

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)


def test_the_shim_offers_every_function_once() -> None:
    offered = shim_exports()
    expected = {(host.module, host.name) for host in (*PROCESS, *STREAMS, *NO_FILES, *EXPERIMENTAL_HTTP)}
    clocks = {("wasi_snapshot_preview1", name) for name in ("clock_res_get", "clock_time_get", "proc_raise")}
    assert sorted(offered) == sorted(expected | clocks)


def test_missing_functions_are_exports_of_their_own() -> None:
    missing = [Import("env", name, FunctionType(("i32",), ())) for name in ("f", "g")]
    own = {name: export for name, export in shim_exports(missing).items() if name not in shim_exports()}
    assert own == {("env", "f"): "missing 0", ("env", "g"): "missing 1"}
    assert types_of(missing) == (FunctionType(("i32",), ()),) * 2
