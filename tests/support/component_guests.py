"""Invocations of components, in the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.sandbox import compiler, run
from wagi_gateway.config.settings import Limits
from wagi_gateway.sandbox.guest import Guest
from wagi_gateway.sandbox.invocation import GuestVolume, Invocation, Measurement
from wagi_gateway.sources.file import WasmSource

PROBE = Path(__file__).parent / "probe.wasm"
"""A Rust program that does what its argument names."""
HEAD = b"content-type: text/plain\n\n"


def invocation(
    data: bytes | str,
    *arguments: bytes,
    stdin: bytes | int = b"",
    environ: dict[bytes, bytes] | None = None,
    volumes: tuple[GuestVolume, ...] = (),
    on_stderr: Callable[[bytes], None] = lambda _: None,
    entrypoint: bytes | None = b"_start",
    measurement: Measurement | None = None,
    **limits: object,
) -> Invocation:
    """An invocation of a component in the binary or the text format."""
    name = "guest.wat" if isinstance(data, str) else "guest.wasm"
    data = data.encode() if isinstance(data, str) else data
    return Invocation(
        compiler().load(WasmSource(name, data, str(hash(data)))),
        entrypoint,
        limits=Limits.model_validate(limits),
        argv=[b"/x", *arguments],
        environ=environ or {},
        stdin=stdin,
        volumes=volumes,
        on_stderr=on_stderr,
        measurement=measurement,
    )


def probe(*arguments: bytes, **more: object) -> tuple[str, Guest]:
    """What the probe prints after its header block."""
    output, guest = run(invocation(PROBE.read_bytes(), *arguments, **more))  # type: ignore[arg-type]
    assert output.startswith(HEAD)
    return output.removeprefix(HEAD).decode(), guest
