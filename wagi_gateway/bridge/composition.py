"""The composition of a component of `wasi:http/proxy@0.2` and the bridge: a command component of WASI 0.2.

The outer component imports WASI, and has three components within: the bridge, which provides `wasi:http` and makes it
of CGI; the application; and the command, which calls both. Instances are passed by the name of their interface, of
whatever minor version, so that all of them have the same resources.
"""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

from ..compiler.binary import COMPONENT, MODULE, Malformed
from ..compiler.compilation import CompilationFailed, CompilerProcess
from ..compiler.component import find_handler, find_handler_problem, interface_of
from ..compiler.component_binary import ComponentExterns, rewrite_modules
from ..compiler.externs import Externs
from ..compiler.hollow import without_code
from ..compiler.interface import assemble
from ..config.settings import CompilerConfig
from ..errors import Problem, StartupError
from . import wasi
from .component_writer import ComponentWriter

BRIDGE = Path(__file__).with_name("bridge.wasm")
_COMMAND = Path(__file__).with_name("command.wat")
_VERSION = "0.2.12"
"""The version of the interfaces that the bridge imports and exports, and of `wasi:cli/run`."""
_HTTP = ("wasi:http/types", "wasi:http/outgoing-handler")
_HANDLER = "wasi:http/incoming-handler@"
_LOG = "wasi:cli/stdout"
"""The standard output is the response, so that of the application goes to the log."""


def compose(name: str, data: bytes, settings: CompilerConfig) -> bytes:
    """The command component of a component of `wasi:http/proxy@0.2`, which is in the binary or the text format.

    Its types are checked by compiling it without its code. Raises StartupError, with `name` as the place.
    """
    application = assemble(name, data, is_text=True)
    try:
        if application.startswith(MODULE):
            raise StartupError(Problem(name, f"is a core module, not a component; {_advice(application)}"))
        if not application.startswith(COMPONENT):
            raise StartupError(Problem(name, "is no component: it begins with another magic number or version"))
        externs = ComponentExterns.read(application)
        if problem := find_handler_problem(externs):
            raise StartupError(Problem(name, problem.what))
        composed = _compose(application, externs)
        hollow = rewrite_modules(composed, without_code)
    except Malformed as malformed:
        raise StartupError(Problem(name, f"cannot be read: {malformed}")) from None
    _check(name, hollow, settings)
    return composed


def _advice(module: bytes) -> str:
    """What to do with a core module. Raises Malformed."""
    if any(export.name.startswith(_HANDLER) for export in Externs.read(module).exports):
        return "Spin makes one of it when it starts: build for wasm32-wasip2, or use `wasm-tools component new`"
    return "a program for WASI is served as it is"


def _compose(application: bytes, externs: ComponentExterns) -> bytes:
    """Composes three components; `externs` are those of the application."""
    bridge = BRIDGE.read_bytes()
    own = {name: interface_of(name) for name, _ in ComponentExterns.read(bridge).imports}
    wanted = {name: interface_of(name) for name, _ in externs.imports}
    imported = wasi.with_dependencies({*own.values(), *wanted.values()} - {*_HTTP})
    instances = {interface: index for index, interface in enumerate(imported)}
    instances[_LOG], stdout = len(imported), instances[_LOG]

    writer = ComponentWriter(assemble("wasi.wat", _shell(imported).encode(), is_text=True), len(imported) + 1)
    given = {**instances, _LOG: stdout}
    bridged = writer.instantiate(
        writer.add_component(bridge), {name: given[interface] for name, interface in own.items()}
    )
    for interface in _HTTP:
        instances[interface] = writer.alias(bridged, f"{interface}@{_VERSION}")
    app = writer.instantiate(
        writer.add_component(application), {name: instances[interface] for name, interface in wanted.items()}
    )
    handler = find_handler(externs)
    assert handler  # noqa: S101 - find_handler_problem
    command = writer.instantiate(
        writer.add_component(assemble(_COMMAND.name, _COMMAND.read_bytes(), is_text=True)),
        {
            "types": instances["wasi:http/types"],
            "exchange": writer.alias(bridged, "wagi:bridge/exchange@0.1.0"),
            "handler": writer.alias(app, handler),
        },
    )
    writer.export(f"wasi:cli/run@{_VERSION}", writer.alias(command, "run"))
    return writer.component()


def _shell(imported: list[str]) -> str:
    """The beginning of the outer component: its imports, and an instance of `wasi:cli/stdout` that is the log's."""
    stderr = f"$wasi:cli/stderr@{_VERSION}"
    return f"""(component
{wasi.import_text(imported)}
 (alias export {stderr} "output-stream" (type $stream))
 (alias export {stderr} "get-stderr" (func $get))
 (instance (export "output-stream" (type $stream)) (export "get-stdout" (func $get))))"""


def _check(name: str, component: bytes, settings: CompilerConfig) -> None:
    """Raises StartupError if the component is not valid: its parts do not fit each other."""
    with closing(CompilerProcess(settings, threading.Event(), is_silent=True)) as compiler:
        try:
            compiler.compile(name, component)
        except CompilationFailed as failed:
            what = f"cannot be composed with the bridge, whose WASI is {_VERSION}: {failed}"
            raise StartupError(Problem(name, what)) from None
