"""A module for the public API, which runs each guest in an engine of its own."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

import wasmtime

from .engine import create_plain_engine


class SerializedModule:
    """A serialized module in memory, for any number of engines.

    wasmtime's public API can end a guest that computes only by the engine's epoch, so each guest gets an engine of its
    own.
    """

    def __init__(
        self,
        module: wasmtime.Module,
        define: Callable[[wasmtime.Engine], wasmtime.Linker],
        *,
        has_source_lines: bool = False,
    ) -> None:
        """Raises OSError when descriptors or memory run out."""
        self.has_source_lines = has_source_lines
        """Whether the module was compiled for engines with source lines."""
        self._create_linker = define
        # A file is mapped and shared; bytes would be copied for each engine.
        self._file = os.memfd_create("module")
        weakref.finalize(self, os.close, self._file)
        with open(self._file, "wb", closefd=False) as file:
            file.write(module.serialize())

    def create_engine(self) -> wasmtime.Engine:
        """Creates an engine for the module."""
        return create_plain_engine(has_source_lines=self.has_source_lines)

    def module(self, engine: wasmtime.Engine) -> wasmtime.Module:
        """The module for an engine of `create_engine`."""
        return wasmtime.Module.deserialize_file(engine, f"/dev/fd/{self._file}")

    def instantiate(self, store: wasmtime.Store) -> wasmtime.Instance:
        """Instantiates the module in a store with an engine of `create_engine`. Raises WasmtimeError, Trap."""
        return self._create_linker(store.engine).instantiate(store, self.module(store.engine))
