"""What the commands share: tables, progress and problems on a terminal, and options that stand for settings."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config.file import ConfigFile
from ..errors import Problem, StartupError
from ..observe import log
from ..site.load import load
from ..site.site import Site
from ..sources.file import WasmSource
from ..sources.oci.errors import RegistryError

if TYPE_CHECKING:  # rich is imported where something is drawn: a server that starts draws nothing
    from rich.console import Console
    from rich.progress import TaskID

    from ..config.image_reference import ImageReference
    from ..sources.oci.puller import OnProgress

_LONG_COMPILE = 1_000_000
"""Bytes of a module from which on its compilation takes long enough to be shown."""

ConfigPath = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The modules.toml, or a Pod manifest (.yaml).", show_default=False)
]
SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", metavar="FILE", help="TOML file with [registries], [cache] and other tables."),
]
CacheDir = Annotated[
    str | None,
    typer.Option("--cache-dir", metavar="DIR", help="Where modules are kept, compiled and pulled (cache.directory)."),
]
AuthFile = Annotated[
    str | None,
    typer.Option("--auth-file", metavar="FILE", help="Credentials for registries, as docker login writes them."),
]


def settings(cache_dir: str | None, auth_file: str | None) -> dict[str, dict[str, object]]:
    """The settings that options of every command stand for."""
    return {"": given(auth_file=absolute(auth_file)), "cache": given(directory=absolute(cache_dir))}


def given(**values: object) -> dict[str, object]:
    """The options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def absolute(path: str | None) -> str | None:
    """A path of the command line is relative to where the command was given, not to the file."""
    return None if path is None else str(Path(path).absolute())


@contextmanager
def problems(*, exit_code: int) -> Iterator[None]:
    """Says what is wrong, and ends the program."""
    try:
        yield
    except StartupError as error:
        warn(error.warnings)
        for problem in error.problems:
            fail(str(problem))
        raise typer.Exit(exit_code) from None
    except RegistryError as error:
        fail(str(error))
        raise typer.Exit(exit_code) from None


@functools.cache
def _err() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def _draws() -> bool:
    return sys.stderr.isatty() and _err().is_terminal


def fail(what: str) -> None:
    """One mistake."""
    _err().print(f"error: {log.escape(what)}", markup=False)


def warn(warnings: Iterable[Problem]) -> None:
    """What is doubtful."""
    for warning in warnings:
        _err().print(f"warning: {log.escape(str(warning))}", markup=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on standard output."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(log.escape(cell)) for cell in row))
    # In a file or a pipe a table is as wide as it needs to be.
    Console(highlight=False, width=None if sys.stdout.isatty() else 10_000).print(table)


def load_site(file: ConfigFile) -> Site:
    """Loads a site, and shows what takes long. Raises StartupError."""
    if not _draws():
        return load(file)
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with pulling() as on_pull, Progress(*columns, console=_err(), transient=True) as progress:

        @contextmanager
        def compiling(source: WasmSource) -> Iterator[None]:
            if len(source.data) < _LONG_COMPILE:
                yield
                return
            size = len(source.data) / 1e6
            task = progress.add_task(f"Compiling {source.name} ({size:.0f} MB)", total=None)
            yield
            progress.remove_task(task)

        return load(file, compiling, on_pull)


@contextmanager
def pulling() -> Iterator[OnProgress | None]:
    """Progress bars for modules that are pulled, on a terminal."""
    if not _draws():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_err(), transient=True) as progress:
        tasks: dict[ImageReference, TaskID] = {}

        def on_progress(reference: ImageReference, done: int, total: int) -> None:
            if reference not in tasks:
                tasks[reference] = progress.add_task(f"Pulling {reference}", total=total)
            progress.update(tasks[reference], completed=done, total=total)

        yield on_progress
