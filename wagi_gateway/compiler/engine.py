"""The wasmtime engine: its settings, its pooling allocator, and the fallback without a pool."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass

import wasmtime

from . import abi

MAX_WASM_STACK = 1024 * 1024
"""Bytes of a guest's stack."""
INSTANCES_PER_GUEST = 3
"""A guest with volumes has two instances beside its own, and one table (`sandbox.adapter`)."""
CORE_INSTANCES_PER_COMPONENT = 30
"""Core instances of a component. A Rust program has 3, one of componentize-py 14, with a bridge for wasi:http 23."""
TABLES_PER_COMPONENT = 20
"""Tables of all core instances of a component."""
HELPERS = 2
"""Components beside a component (`sandbox.wasi_helper`), each with a memory and no table."""
CORE_INSTANCES_PER_HELPER = 3
BRIDGES = 1
"""Bridges within a component (`compiler.bridged`), each with a memory."""
_BACKTRACE_DETAILS = "WASMTIME_BACKTRACE_DETAILS"
_MEMORY_RESERVATION = (4 << 30) + (64 << 20)
"""Bytes of address space for a 32-bit memory with its guards."""
_STACKS = 1000 * ((2 << 20) + mmap.PAGESIZE)
"""Bytes of the stacks for asynchronous calls, of which a pool has 1,000. RLIMIT_DATA counts them, and tables."""
_ROOM = 64 << 20
"""Bytes for what else is allocated at the start."""
_MAP_NORESERVE = 0x4000
"""Linux's flag, with which wasmtime maps, too; the module `mmap` has it since CPython 3.13."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the pooling allocator reserves; memory is virtual address space until a guest touches it."""

    slots: int
    """Instances at the same time."""
    max_memory: int
    """Bytes of one memory."""
    memories: int
    """Memories of one instance."""
    tables: int
    """Tables of one instance."""
    table_elements: int
    """Elements of one table."""
    has_source_lines: bool = False
    """As `has_source_lines` of `create_plain_engine`."""


def create_plain_engine(*, has_source_lines: bool = False, compiles_in_parallel: bool = False) -> wasmtime.Engine:
    """Creates an engine that allocates each instance on demand.

    With `has_source_lines` the backtrace of a trap has files, lines and columns, of modules with DWARF. An artefact is
    for engines with `has_source_lines`, or for those without. With `compiles_in_parallel` the process is aborted where
    the system has no thread left.
    """
    return wasmtime.Engine(_configure(has_source_lines=has_source_lines, compiles_in_parallel=compiles_in_parallel))


def create_engine(settings: EngineSettings) -> tuple[wasmtime.Engine, str | None]:
    """Creates an engine with a pool of instances, or else one without, and a warning."""
    if warning := abi.warning():
        return create_plain_engine(has_source_lines=settings.has_source_lines), warning
    if reason := _pool_refused(settings):
        warning = f"sandboxes are allocated one by one, which is slower: {reason}"
        return create_plain_engine(has_source_lines=settings.has_source_lines), warning
    config = _configure(has_source_lines=settings.has_source_lines)
    _set_pool(config, settings)
    return wasmtime.Engine(config), None


def _pool_refused(settings: EngineSettings) -> str | None:
    """Why the pool cannot be reserved, or None. Tried first, because wasmtime's C API ends the process on failure."""
    tables = settings.slots * _tables(settings) * settings.table_elements * 16
    writable = tables + _STACKS + _ROOM
    size = settings.slots * _memories(settings) * _MEMORY_RESERVATION + writable
    if error := _mapping_refused(size, protection=0):
        what = f"{settings.slots} sandboxes need {size >> 30} GiB of address space ({error})"
        return f"{what}; lower concurrency in [server]"
    if error := _mapping_refused(writable, mmap.PROT_READ | mmap.PROT_WRITE):
        what = f"{settings.slots} sandboxes need {writable >> 20} MiB of writable mappings ({error})"
        return f"{what}; raise RLIMIT_DATA (ulimit -d, LimitDATA=), or lower concurrency in [server]"
    return None


def _mapping_refused(size: int, protection: int) -> Exception | None:
    """The error of mmap(2) for a private mapping, or None."""
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE, prot=protection).close()
    except (OSError, OverflowError, ValueError) as error:
        return error
    return None


def _memories(settings: EngineSettings) -> int:
    """Memories of one slot: those of a guest, its bridge and its helpers."""
    return settings.memories + BRIDGES + HELPERS


def _tables(settings: EngineSettings) -> int:
    """Tables of one slot: those of a guest, and that of its adapter."""
    return max(settings.tables, TABLES_PER_COMPONENT) + 1


def _configure(*, has_source_lines: bool, compiles_in_parallel: bool = False) -> wasmtime.Config:
    from wasmtime import _bindings  # the public API has no such settings

    _set_backtrace_details(has_source_lines)
    config = wasmtime.Config()
    config.parallel_compilation = compiles_in_parallel
    config.epoch_interruption = True
    config.max_wasm_stack = MAX_WASM_STACK
    config.wasm_multi_memory = True
    # A guest's wait on shared memory cannot be interrupted.
    config.shared_memory = False
    # The C API has no notation for streams and futures, the types of WASI 0.3; with support for concurrency a host
    # function that is given two borrowed resources fails (wasmtime 50). Another release may lack the functions.
    for name in ("wasm_component_model_async", "concurrency_support"):
        if disable := getattr(_bindings, f"wasmtime_config_{name}_set", None):
            disable(config.ptr(), False)
    return config


def _set_backtrace_details(has_source_lines: bool) -> None:
    """Sets the variable that wasmtime reads for each new configuration: its C API has no function for this setting.

    The variable stays as it is set, because another thread may create an engine at the same time.
    """
    wanted = "1" if has_source_lines else None
    if os.environ.get(_BACKTRACE_DETAILS) == wanted:
        return
    if wanted:
        os.environ[_BACKTRACE_DETAILS] = wanted
    else:
        del os.environ[_BACKTRACE_DETAILS]


def _set_pool(config: wasmtime.Config, settings: EngineSettings) -> None:
    from wasmtime import _bindings  # the public API has no pooling allocator

    pool = _bindings.wasmtime_pooling_allocation_config_new()
    for name, value in {
        "total_core_instances": settings.slots * (CORE_INSTANCES_PER_COMPONENT + HELPERS * CORE_INSTANCES_PER_HELPER),
        "total_component_instances": settings.slots * (1 + HELPERS),
        "max_core_instances_per_component": CORE_INSTANCES_PER_COMPONENT,
        "max_memories_per_component": settings.memories + BRIDGES,
        "max_tables_per_component": max(settings.tables, TABLES_PER_COMPONENT),
        "max_component_instance_size": 2**20,
        "total_memories": settings.slots * _memories(settings),
        "total_tables": settings.slots * _tables(settings),
        "max_memories_per_module": settings.memories,
        "max_tables_per_module": settings.tables,
        "table_elements": settings.table_elements,
        "max_memory_size": settings.max_memory,
        "max_core_instance_size": 4 * 2**20,
        # Measured with the samples: with 0, hello takes 13 µs more; with 1 MiB, the C and Rust ones take 20 µs more,
        # because clearing memory costs more than the page faults it saves.
        "linear_memory_keep_resident": 64 * 2**10,
        "table_keep_resident": 64 * 2**10,
    }.items():
        getattr(_bindings, f"wasmtime_pooling_allocation_config_{name}_set")(pool, value)
    _bindings.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    _bindings.wasmtime_pooling_allocation_config_delete(pool)
