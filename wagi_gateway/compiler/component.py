"""A command component of WASI 0.2: what it has to export, what it may import, and its compiled form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from wasmtime.component import Component, ExportIndex

from ..errors import Problem
from .component_binary import ComponentExterns
from .foreign_imports import advice_for_interface

_RUN = re.compile(r"wasi:cli/run@0\.2\.\d+")
_HANDLER = re.compile(r"wasi:http/incoming-handler@0\.2\.\d+")
_WASI_0_3 = re.compile(r"wasi:[a-z0-9/-]+@0\.3\.")
_INTERFACE = re.compile(r"wasi:([a-z0-9-]+/[a-z0-9-]+)@0\.2\.\d+")
_PROVIDED = frozenset(
    f"{package}/{interface}"
    for package, interfaces in {
        "cli": "environment exit stderr stdin stdout terminal-input terminal-output terminal-stderr terminal-stdin"
        " terminal-stdout",
        "clocks": "monotonic-clock wall-clock",
        "filesystem": "preopens types",
        "io": "error poll streams",
        "random": "insecure insecure-seed random",
        "sockets": "instance-network ip-name-lookup network tcp tcp-create-socket udp udp-create-socket",
    }.items()
    for interface in interfaces.split()
)
"""The interfaces of WASI 0.2 that a command may import; those of sockets deny every call."""
_OF_HANDLERS = frozenset(("http/types", "http/outgoing-handler"))
"""The interfaces that a component for `wasi:http/proxy` may import beside them: a bridge has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmComponent:
    """A compiled command component, which is instantiated once for each request."""

    name: str
    digest: str
    component: Component
    run: ExportIndex
    """The function `run` of the exported `wasi:cli/run`."""
    bridges: int
    """The bridges for `wasi:http` within, one at most, each with a small memory beside those of `limits.memories`."""

    ENTRYPOINT: ClassVar[str] = "_start"
    """The default of `entrypoint`, which stands for `wasi:cli/run`."""
    functions: ClassVar[frozenset[str]] = frozenset((ENTRYPOINT,))
    exports: ClassVar[tuple[str, ...]] = (ENTRYPOINT,)
    imports: ClassVar[frozenset[str]] = frozenset()
    """The import modules of a core module; a component has none."""
    start: ClassVar[bytes | None] = None
    is_reactor: ClassVar[bool] = False
    is_interruptible: ClassVar[bool] = False
    """Whether a guest may run on the event loop's thread: none whose output goes through a pipe."""

    @classmethod
    def create(
        cls, name: str, digest: str, component: Component, interface: str, bridges: int = 0
    ) -> WarmComponent | None:
        """The component with the export `interface`; None if that has no `run`."""
        instance = component.get_export_index(interface)
        run = component.get_export_index("run", instance) if instance else None
        if run is None:
            return None
        return cls(name=name, digest=digest, component=component, run=run, bridges=bridges)


def find_run(externs: ComponentExterns) -> str | None:
    """The name of the exported `wasi:cli/run` of any WASI 0.2, such as `wasi:cli/run@0.2.6`; None without one."""
    return _find_instance(externs, _RUN)


def find_handler(externs: ComponentExterns) -> str | None:
    """The name of the exported `wasi:http/incoming-handler` of any WASI 0.2; None without one."""
    return _find_instance(externs, _HANDLER)


def find_problem(externs: ComponentExterns) -> Problem | None:
    """Why a component cannot be served, with what to do; None for a command that imports WASI 0.2 alone."""
    if newer := _find_newer(externs):
        return newer
    missing = [name for name, kind in externs.imports if not is_provided(name, kind)]
    if missing and find_run(externs):
        return _describe_missing(missing)
    return None if find_run(externs) else Problem("", _without_run(externs))


def find_handler_problem(externs: ComponentExterns) -> Problem | None:
    """Why no bridge can be composed around a component, with what to do; None for one of `wasi:http/proxy@0.2`."""
    if newer := _find_newer(externs):
        return newer
    if not find_handler(externs):
        if find_run(externs):
            return Problem("", "exports wasi:cli/run and no wasi:http/incoming-handler: it is served as it is")
        return Problem("", "exports no wasi:http/incoming-handler of WASI 0.2, so there is nothing to bridge")
    missing = [name for name, kind in externs.imports if not is_provided(name, kind, _PROVIDED | _OF_HANDLERS)]
    return _describe_missing(missing) if missing else None


def is_provided(name: str, kind: str, interfaces: frozenset[str] = _PROVIDED) -> bool:
    """Whether an import of a component is one of some interfaces of WASI 0.2; by default of those of a command."""
    found = _INTERFACE.fullmatch(name)
    return kind == "instance" and found is not None and found[1] in interfaces


def interface_of(name: str) -> str:
    """The name of an interface of WASI without its version: `wasi:io/poll` of `wasi:io/poll@0.2.6`."""
    return name.partition("@")[0]


def _find_instance(externs: ComponentExterns, name: re.Pattern[str]) -> str | None:
    return next((found for found, kind in externs.exports if kind == "instance" and name.fullmatch(found)), None)


def _find_newer(externs: ComponentExterns) -> Problem | None:
    """The problem of a component for WASI 0.3."""
    newer = next(filter(_WASI_0_3.match, (name for name, _ in (*externs.exports, *externs.imports))), None)
    if newer is None:
        return None
    what = f"is a component for WASI 0.3, with {newer}"
    return Problem("", f"{what}; this gateway has WASI 0.2, so build it for that, such as wasm32-wasip2")


def _describe_missing(missing: Sequence[str]) -> Problem:
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    what = f"imports {_shown(missing[0])}{more}, which this gateway does not provide; {advice_for_interface(missing)}"
    return Problem("", what)


def _shown(name: str) -> str:
    """The name of an interface without the version of another host's: its `@` would look like that of a password."""
    return name if name.startswith("wasi:") else name.partition("@")[0]


def _without_run(externs: ComponentExterns) -> str:
    if find_handler(externs):
        what = "exports wasi:http/incoming-handler and no wasi:cli/run: it is for `wasmtime serve`"
        return f"{what}; make it a command with `wagi-gateway bridge`, and name the file that this writes"
    what = "exports no wasi:cli/run of WASI 0.2, so there is nothing to call"
    return f"{what}; build a program (with main) for WASI 0.2, such as wasm32-wasip2, that prints its response"
