"""Output on a terminal (tables, progress bars, errors), and the options that several commands have."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Problem, StartupError
from ..sources.oci.errors import RegistryError

if TYPE_CHECKING:  # imported at their first use, so that short commands are quick
    from rich.console import Console
    from rich.progress import TaskID

    from ..config.file import ConfigFile
    from ..config.image_reference import ImageReference
    from ..site.site import Site
    from ..sources.file import WasmSource
    from ..sources.oci.puller import OnProgress

_DEFAULT_CONFIG = Path("modules.toml")
_WIDTH = 80
"""Columns of a table that is wrapped and goes to a file or a pipe."""

ConfigPath = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CONFIG]",
        help="The modules.toml, or a Pod manifest (.yaml); ./modules.toml if left out.",
        show_default=False,
    ),
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


def given_config(config: Path | None) -> Path:
    """The configuration of the command line, or `modules.toml` in the working directory. Raises StartupError."""
    if config is not None:
        return config
    if not _DEFAULT_CONFIG.exists():
        what = "there is none in this directory; name a configuration"
        if Path("spin.toml").exists():
            what += ", or run: wagi-gateway convert spin.toml > modules.toml"
        raise StartupError(Problem(str(_DEFAULT_CONFIG), what))
    return _DEFAULT_CONFIG


def environment_of(files: Iterable[Path], variables: Sequence[str]) -> dict[str, str]:
    """The variables of `--env-file` and `--env`, the latter winning. Raises StartupError with every mistake."""
    from ..config.envfile import parse_env_file, parse_variable
    from ..config.values import check_reserved

    environment: dict[str, str] = {}
    problems: list[Problem] = []
    for file in files:
        try:
            environment |= parse_env_file(file)
        except StartupError as error:
            problems += error.problems
    for number, variable in enumerate(variables, start=1):
        try:
            environment |= [parse_variable(variable)]
        except ValueError as error:  # the text may hold a secret, and is not shown
            problems.append(Problem(f"--env (number {number} of {len(variables)})", str(error)))
    for name in environment:
        try:
            check_reserved(name)
        except ValueError as error:
            problems.append(Problem("--env or --env-file", f"{name}: {error}"))
    if problems:
        raise StartupError(*problems)
    return environment


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
        print_problems(error.problems)
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
    _print_labelled("error", "bold red", what)


def print_problems(problems: Iterable[Problem]) -> None:
    """Prints problems on standard error."""
    for problem in problems:
        fail(str(problem))


def print_warnings(warnings: Iterable[Problem]) -> None:
    """Prints warnings on standard error."""
    for warning in warnings:
        _print_labelled("warning", "yellow", str(warning))


def _print_labelled(label: str, style: str, what: str) -> None:
    from rich.text import Text

    from ..observe import log

    _stderr().print(Text.assemble((f"{label}:", style), f" {log.escape(what)}"))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    styles: Mapping[str, str] | None = None,
    wraps: bool = False,
) -> None:
    """Prints a table on standard output. `styles` has colours for a terminal by the text of a cell. In a file or a
    pipe no line is wrapped, or else at the width of `COLUMNS` or 80."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..observe import log

    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold", min_width=len(column))
    for row in rows:
        table.add_row(*(Text(log.escape(cell), style=(styles or {}).get(cell, "")) for cell in row))
    width = int(given) if (given := os.environ.get("COLUMNS", "")).isdecimal() else 0
    if not sys.stdout.isatty():
        width = (width or _WIDTH) if wraps else 10_000
    Console(highlight=False, width=width or None).print(table)


def load_site(file: ConfigFile, *, has_source_lines: bool = False) -> Site:
    """Loads a site, with progress bars for pulls and compilations, or else lines of the log for long compilations.

    `has_source_lines` as in `site.load.load`. Raises StartupError.
    """
    from ..site.load import load

    if not _is_terminal():
        return load(file, has_source_lines=has_source_lines)
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with pulling() as on_pull, Progress(*columns, console=_stderr(), transient=True) as progress:

        @contextmanager
        def compiling(source: WasmSource) -> Iterator[None]:
            size = len(source.data) / 1e6
            task = progress.add_task(f"Compiling {source.name} ({size:.3g} MB)", total=None)
            yield
            progress.remove_task(task)

        return load(file, compiling, on_pull, has_source_lines=has_source_lines)


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
