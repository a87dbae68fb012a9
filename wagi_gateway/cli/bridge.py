"""The command `bridge`: a command component of a component for `wasi:http/proxy`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from ..errors import Problem, StartupError
from .terminal import exit_on_problems


def bridge(
    component: Annotated[
        Path, typer.Argument(metavar="COMPONENT", help="The .wasm file that exports wasi:http.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The file to write; NAME-cgi.wasm beside it.", show_default=False
        ),
    ] = None,
) -> None:
    """Compose a bridge to CGI around a component of wasi:http.

    COMPONENT is for `wasmtime serve` or Spin (wasi:http/proxy@0.2). The file that is written has it within, and is
    served as any other module. Outgoing requests of the component are denied.
    """
    from ..bridge.composition import compose
    from ..config.settings import CompilerConfig
    from ..sources.file import read_module

    with exit_on_problems(exit_code=1):
        composed = compose(str(component), read_module(component).data, CompilerConfig())
        target = output or component.with_name(f"{component.stem}-cgi.wasm")
        _write(target, composed)
    typer.echo(f"{target} written ({len(composed) >> 10} KiB)", err=True)


def _write(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all. Raises StartupError."""
    if path.exists() and not path.is_file():
        raise StartupError(Problem(str(path), "is not a file; name another one in --output"))
    written = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(written, "xb") as file:
            file.write(data)
        written.replace(path)
    except OSError as error:
        raise StartupError(Problem(str(path), f"cannot be written: {error.strerror}")) from None
    finally:
        with suppress(OSError):
            written.unlink(missing_ok=True)
