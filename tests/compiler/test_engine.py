"""Engines: the pool, the fallback without one, and the C functions that set it up."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import wasmtime
from wasmtime import _bindings

from tests.conftest import OTHER_RELEASE
from wagi_gateway.compiler import abi
from wagi_gateway.compiler.engine import BRIDGES, HELPERS, EngineSettings, create_engine, create_plain_engine

SMALL = EngineSettings(slots=2, max_memory=2 * 2**16, memories=1, tables=1, table_elements=10)
DETAILS = "WASMTIME_BACKTRACE_DETAILS"
HUGE = EngineSettings(slots=1_000_000, max_memory=2**32, memories=100, tables=1, table_elements=10)


COMPILES = """
import os, wasmtime
from wagi_gateway.compiler.engine import HELPERS, create_plain_engine
wasmtime.Module(create_plain_engine(compiles_in_parallel={}), "(module (func) (func))")
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.parametrize(("is_parallel", "threads"), [(False, range(1, 2)), (True, range(2, 1000))])
def test_a_compilation_in_the_process_that_serves_starts_no_thread(is_parallel: bool, threads: range) -> None:
    """wasmtime panics, and ends the process, where it can start none; so does the compiler's process alone."""
    command = [sys.executable, "-c", COMPILES.format(is_parallel)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert int(done.stdout) in threads


def instantiate(engine: wasmtime.Engine, wat: str, count: int = 1) -> None:
    """Instantiates a module in as many stores at the same time."""
    module = wasmtime.Module(engine, wat)
    stores = [wasmtime.Store(engine) for _ in range(count)]
    for store in stores:
        store.set_epoch_deadline(1)
        wasmtime.Instance(store, module, [])


def test_a_pool_has_as_many_slots_each_with_room_for_the_helpers_of_a_component() -> None:
    engine, warning = create_engine(SMALL)
    assert warning is None
    memories = SMALL.slots * (SMALL.memories + BRIDGES + HELPERS)
    instantiate(engine, "(module (memory 2))", memories)
    with pytest.raises(wasmtime.WasmtimeError, match="maximum concurrent"):
        instantiate(engine, "(module (memory 2))", memories + 1)


@pytest.mark.parametrize(
    "fields",
    ["(memory 1) (memory 1)", "(memory 3)", "(table 1 funcref) (table 1 funcref)", "(table 11 funcref)"],
    ids=["memories", "memory", "tables", "elements"],
)
def test_a_slot_has_the_size_of_the_settings(fields: str) -> None:
    engine, _ = create_engine(SMALL)
    with pytest.raises(wasmtime.WasmtimeError):
        instantiate(engine, f"(module {fields})")
    instantiate(create_plain_engine(), f"(module {fields})")


def test_a_pool_beyond_the_address_space_is_done_without() -> None:
    engine, warning = create_engine(HUGE)
    assert warning
    assert warning.startswith("sandboxes are allocated one by one, which is slower: 1000000 sandboxes need ")
    assert warning.endswith("; lower concurrency in [server]")
    instantiate(engine, "(module (memory 3))")


UNDER_RLIMIT_DATA = """
import resource, wasmtime
from wagi_gateway.compiler.engine import EngineSettings, create_engine
resource.setrlimit(resource.RLIMIT_DATA, ({size}, {size}))
settings = EngineSettings(slots=257, max_memory=2**28, memories=1, tables=4, table_elements=100_000)
engine, warning = create_engine(settings)
store = wasmtime.Store(engine)
wasmtime.Instance(store, wasmtime.Module(engine, "(module (memory 1) (table 10 funcref))"), [])
print(warning)
"""


@pytest.mark.parametrize("mebibytes", [256, 2500, 3900, 100_000])
def test_a_pool_beyond_rlimit_data_is_done_without(mebibytes: int) -> None:
    command = [sys.executable, "-c", UNDER_RLIMIT_DATA.format(size=mebibytes << 20)]
    done = subprocess.run(command, capture_output=True, timeout=60, text=True)
    assert done.returncode == 0, done.stderr
    assert ("raise RLIMIT_DATA (ulimit -d, LimitDATA=)" in done.stdout) == (mebibytes < 4000)


def test_another_release_has_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abi, "WASMTIME_VERSION", OTHER_RELEASE)
    engine, warning = create_engine(SMALL)
    assert warning == abi.warning()
    instantiate(engine, "(module (memory 3))")


@pytest.mark.parametrize("create", [create_plain_engine, lambda: create_engine(SMALL)[0]], ids=["plain", "pool"])
def test_a_guest_that_computes_ends_with_the_epoch(create: object) -> None:
    assert callable(create)
    engine = create()
    store = wasmtime.Store(engine)
    store.set_epoch_deadline(1)
    instance = wasmtime.Instance(store, wasmtime.Module(engine, '(module (func (export "f") (loop (br 0))))'), [])
    engine.increment_epoch()
    function = instance.exports(store)["f"]
    assert isinstance(function, wasmtime.Func)
    with pytest.raises(wasmtime.Trap) as raised:
        function(store)
    assert raised.value.trap_code == wasmtime.TrapCode.INTERRUPT


@pytest.mark.parametrize("variable", ["", "0", "1"])
@pytest.mark.parametrize("has_source_lines", [False, True])
def test_an_artefact_fits_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, variable: str, has_source_lines: bool
) -> None:
    monkeypatch.delenv(DETAILS, raising=False)
    engine, _ = create_engine(replace(SMALL, has_source_lines=has_source_lines))
    artefact = wasmtime.Module(engine, "(module)").serialize()
    monkeypatch.setenv(DETAILS, variable)
    own = create_plain_engine(has_source_lines=has_source_lines)
    assert wasmtime.Module.deserialize(own, artefact)
    with pytest.raises(wasmtime.WasmtimeError):
        wasmtime.Module.deserialize(create_plain_engine(has_source_lines=not has_source_lines), artefact)


def test_shared_memory_is_refused() -> None:
    with pytest.raises(wasmtime.WasmtimeError, match="shared memory support is disabled"):
        instantiate(create_plain_engine(), "(module (memory 1 1 shared))")


C_FUNCTIONS = """config_new config_delete strategy_set config_total_core_instances_set config_total_memories_set
config_total_tables_set config_max_memories_per_module_set config_max_tables_per_module_set config_table_elements_set
config_max_memory_size_set config_max_core_instance_size_set config_linear_memory_keep_resident_set
config_table_keep_resident_set""".split()


@pytest.mark.parametrize("name", C_FUNCTIONS)
def test_a_c_function_of_the_pool(name: str) -> None:
    """A canary: wasmtime's Python package has no public API for these."""
    assert callable(getattr(_bindings, f"wasmtime_pooling_allocation_{name}"))
    parameters = getattr(_bindings, f"_wasmtime_pooling_allocation_{name}").argtypes
    assert len(parameters) == {"config_new": 0, "config_delete": 1}.get(name, 2)
