"""Handlers of wasi:http as commands: components that `wagi-gateway bridge` composed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from tests.support.component_guests import invocation
from tests.support.sandbox import run
from wagi_gateway.bridge.composition import compose
from wagi_gateway.config.settings import CompilerConfig
from wagi_gateway.sandbox.guest import Guest

HANDLER = Path(__file__).parent / "handler.wasm"
"""A Rust program that does what the last part of its path names."""

_TYPES = """
 (export "incoming-request" (type $request (sub resource)))
 (export "response-outparam" (type $response (sub resource)))"""


@functools.cache
def bridged(handler: Path | str = HANDLER) -> bytes:
    """The command of a handler: of a file, or in the text format."""
    data = handler.encode() if isinstance(handler, str) else handler.read_bytes()
    return compose("handler", data, CompilerConfig())


def answer(path: str, variables: Mapping[str, str] | None = None, **more: object) -> tuple[str, Guest]:
    """What the handler prints for a request of CGI."""
    environ = {"REQUEST_METHOD": "GET", "REQUEST_URI": path, "SERVER_NAME": "own", "SERVER_PORT": "80"}
    given = {name.encode(): value.encode() for name, value in (environ | dict(variables or {})).items()}
    output, guest = run(invocation(bridged(), environ=given, **more))  # type: ignore[arg-type]
    return output.decode(), guest


def proxy(fields: str = "", *, version: str = "0.2.0", more: str = "", instructions: str = "") -> str:
    """A handler in the text format that executes `instructions`. `fields` are imports, `more` is in its core module."""
    return f"""(component {fields}
 (import "wasi:http/types@{version}" (instance $types {_TYPES}))
 (alias export $types "incoming-request" (type $in)) (alias export $types "response-outparam" (type $out))
 (core module $Main {more} (func (export "handle") (param i32 i32) {instructions}))
 (core instance $main (instantiate $Main))
 (func $handle (param "request" (own $in)) (param "response-out" (own $out))
  (canon lift (core func $main "handle")))
 (instance $handler (export "handle" (func $handle)))
 (export "wasi:http/incoming-handler@{version}" (instance $handler)))"""
