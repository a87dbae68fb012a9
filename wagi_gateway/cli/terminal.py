"""Output on a terminal (tables, progress bars, errors), and the options that several commands have."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Problem, StartupError
from ..sources.oci.errors import RegistryError

if TYPE_CHECKING:  # imported at their first use: by `--help` none of them, by `serve` all but rich
    from rich.console import Console
    from rich.progress import TaskID

    from ..config.file import ConfigFile
    from ..config.image_reference import ImageReference
    from ..site.site import Site
    from ..sources.file import WasmSource
    from ..sources.oci.puller import OnProgress

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


def setting_overrides(cache_dir: str | None, auth_file: str | None) -> dict[str, dict[str, object]]:
    """The overrides of `--cache-dir` and `--auth-file`."""
    return {"": without_none(auth_file=absolute(auth_file)), "cache": without_none(directory=absolute(cache_dir))}


def without_none(**values: object) -> dict[str, object]:
    """The keyword arguments that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def absolute(path: str | None) -> str | None:
    """The absolute form of a path, which on the command line is relative to the working directory."""
    return None if path is None else str(Path(path).absolute())


@contextmanager
def exit_on_problems(*, exit_code: int) -> Iterator[None]:
    """Prints the problems of a StartupError or RegistryError, and exits with `exit_code`."""
    try:
        yield
    except StartupError as error:
        from ..observe import log

        if log.is_json():
            for warning in error.warnings:
                log.logger.warning("%s", warning)
            for problem in error.problems:
                log.logger.error("%s", problem)
            raise typer.Exit(exit_code) from None
        print_warnings(error.warnings)
        for problem in error.problems:
            fail(str(problem))
        raise typer.Exit(exit_code) from None
    except RegistryError as error:
        fail(str(error))
        raise typer.Exit(exit_code) from None


@functools.cache
def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def _is_terminal() -> bool:
    return sys.stderr.isatty() and _stderr().is_terminal


def fail(what: str) -> None:
    """Prints an error on standard error."""
    from ..observe import log

    _stderr().print(f"error: {log.escape(what)}", markup=False)


def print_warnings(warnings: Iterable[Problem]) -> None:
    """Prints warnings on standard error."""
    from ..observe import log

    for warning in warnings:
        _stderr().print(f"warning: {log.escape(str(warning))}", markup=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table on standard output."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..observe import log

    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(log.escape(cell)) for cell in row))
    # In a file or a pipe no line of a table is wrapped.
    Console(highlight=False, width=None if sys.stdout.isatty() else 10_000).print(table)


def load_site(file: ConfigFile) -> Site:
    """Loads a site, with progress bars for pulls and compilations, or else lines of the log for long compilations.

    Raises StartupError.
    """
    from ..site.load import load

    if not _is_terminal():
        return load(file)
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with pulling() as on_pull, Progress(*columns, console=_stderr(), transient=True) as progress:

        @contextmanager
        def compiling(source: WasmSource) -> Iterator[None]:
            size = len(source.data) / 1e6
            task = progress.add_task(f"Compiling {source.name} ({size:.3g} MB)", total=None)
            yield
            progress.remove_task(task)

        return load(file, compiling, on_pull)


@contextmanager
def pulling() -> Iterator[OnProgress | None]:
    """The callback that draws progress bars for pulled modules; None where standard error is no terminal."""
    if not _is_terminal():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_stderr(), transient=True) as progress:
        tasks: dict[ImageReference, TaskID] = {}

        def on_progress(reference: ImageReference, done: int, total: int) -> None:
            if reference not in tasks:
                tasks[reference] = progress.add_task(f"Pulling {reference}", total=total)
            progress.update(tasks[reference], completed=done, total=total)

        yield on_progress
