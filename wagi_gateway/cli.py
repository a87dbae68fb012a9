"""The commands; each is a few lines that call a room below."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ByteSize
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from . import __version__, server
from .cgi.environ import META_VARIABLES
from .config import Config, as_written
from .configfile import ConfigFile, Overrides, read_config
from .envfile import parse_env_file, parse_variable
from .errors import Problem, StartupError
from .observe import log
from .oneshot import OneShot, load_once, run_once
from .sources.file import WasmSource
from .startup import Site, load

app = typer.Typer(
    help="Serve WebAssembly command-line programs over HTTP: CGI for WebAssembly, one fresh sandbox per request.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
# In a file or a pipe a table is as wide as it needs to be.
_out = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

_LONG_COMPILE = 1_000_000
"""Bytes of a module from which on its compilation takes long enough to be shown."""

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The modules.toml.", show_default=False)]
CacheDir = Annotated[
    str | None, typer.Option("--cache-dir", metavar="DIR", help="Where compiled modules are kept (cache.directory).")
]
Variables = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", metavar="NAME=VALUE", help="Environment variable for every module; repeatable."),
]


def main() -> None:
    """The program; what is wrong with its input is said without a traceback."""
    app()


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"wagi-gateway {__version__}")
        raise typer.Exit


@app.command()
def serve(
    config: ConfigPath,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Address to serve on (server.listen).")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=256, help="Processes that serve (server.workers).")
    ] = None,
    env: Variables = None,
    env_file: Annotated[
        list[Path] | None,
        typer.Option("--env-file", metavar="FILE", help="File of NAME=VALUE lines; repeatable, --env wins."),
    ] = None,
    log_format: Annotated[Literal["text", "json"] | None, typer.Option(help="Format of the log (log.format).")] = None,
    cache_dir: CacheDir = None,
) -> None:
    """Serve the modules of CONFIG."""
    with _problems(exit_code=3):
        overrides: Overrides = {
            "server": _given(listen=listen, workers=workers),
            "log": _given(format=log_format),
            "cache": _given(directory=_absolute(cache_dir)),
            "environment": _environment(env_file or [], env or []),
        }
        file = read_config(config, overrides)
        log.configure(file.config.log)
        site = _load(file)
        for warning in site.warnings:
            log.logger.warning("%s", warning)
        listener = server.bind(site.config.server)
    for pattern, endpoint in site.routes:
        print(f"{server.url(listener)}{pattern.text} -> {endpoint.config.module} ({endpoint.entrypoint})")
    server.run(file, site, listener, lambda url: print(f"Ready: serving on {url}", flush=True))


@app.command()
def check(config: ConfigPath, cache_dir: CacheDir = None) -> None:
    """Load, link and try everything in CONFIG, without serving it. Exits with 1 if a start would fail."""
    problems: Sequence[Problem] = ()
    findings = []
    try:
        site = _load(read_config(config, {"cache": _given(directory=_absolute(cache_dir))}))
        findings = [("ok", p.text, f"{e.config.module} ({e.entrypoint})") for p, e in site.routes]
        findings += [("may call", route, what) for route, what in site.permissions()]
        warnings: Sequence[Problem] = site.warnings
    except StartupError as error:
        problems, warnings = error.problems, error.warnings
    findings += [("warning", warning.where, warning.what) for warning in warnings]
    findings += [("error", problem.where, problem.what) for problem in problems]
    _print_table(("result", "where", "what"), findings)
    raise typer.Exit(1 if problems else 0)


@app.command()
def routes(config: ConfigPath, cache_dir: CacheDir = None) -> None:
    """List the routes of CONFIG with what their modules may use."""
    with _problems(exit_code=1):
        site = _load(read_config(config, {"cache": _given(directory=_absolute(cache_dir))}))
    rows = [
        (
            pattern.text,
            endpoint.config.module,
            endpoint.entrypoint,
            as_written(endpoint.limits.time, float),
            as_written(endpoint.limits.memory, ByteSize),
            str(endpoint.limits.concurrency),
            ", ".join(endpoint.config.allowed_hosts or ()) or "none",
        )
        for pattern, endpoint in site.routes
    ]
    _print_table(("route", "module", "entrypoint", "time", "memory", "concurrency", "allowed hosts"), rows)


@app.command()
def run(
    module: Annotated[str, typer.Argument(metavar="MODULE", help="The .wasm or .wat file.", show_default=False)],
    path: Annotated[str, typer.Option(help="Path of the request.")] = "/",
    query: Annotated[str, typer.Option(help="Query, without the question mark.")] = "",
    method: Annotated[str | None, typer.Option(help="Method; POST if there is --data, else GET.")] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME: VALUE", help="Header field; repeatable.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Body: text, @FILE, or - for standard input.")] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME=VALUE", help="Environment variable of the guest; repeatable."),
    ] = None,
    volume: Annotated[
        list[str] | None,
        typer.Option("--volume", metavar="GUEST=HOST[:ro]", help="Directory the guest may open; repeatable."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="ENTRY", help="Host the guest may call, as in allowed_hosts; repeatable."),
    ] = None,
    entrypoint: Annotated[str, typer.Option(help="Exported function to call.")] = "_start",
    argv: Annotated[str | None, typer.Option(help="Template of the argument vector, as in modules.toml.")] = None,
    cache_dir: CacheDir = None,
) -> None:
    """Run MODULE for one request, without a server.

    The response goes to standard output and the guest's standard error to standard error. Exits with 0 for a status
    below 400, with 4 and 5 for the 400s and 500s, and with 3 if the module cannot be run.
    """
    with _problems(exit_code=3):
        log.configure_for_run()
        request = OneShot(
            module=module,
            path=path,
            query=query,
            method=method or ("GET" if data is None else "POST"),
            headers=tuple(header or ()),
            body=_read_data(data),
            environment=_environment([], env or []),
            volumes=tuple(volume or ()),
            allowed_hosts=tuple(allow_host or ()),
            entrypoint=entrypoint,
            argv=argv,
        )
        site = load_once(request, _absolute(cache_dir), _load)
        _warn(site.warnings)
        status = run_once(site, request, sys.stdout.buffer)
    raise typer.Exit(0 if status < 400 else status // 100)


@app.command()
def schema() -> None:
    """Print the JSON Schema of modules.toml, for editors."""
    print(json.dumps(Config.model_json_schema(), indent=2))


@contextmanager
def _problems(*, exit_code: int) -> Iterator[None]:
    try:
        yield
    except StartupError as error:
        _warn(error.warnings)
        for problem in error.problems:
            _err.print(f"error: {log.escape(str(problem))}", markup=False)
        raise typer.Exit(exit_code) from None


def _load(file: ConfigFile) -> Site:
    if not _err.is_terminal:
        return load(file)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_err, transient=True) as progress:

        @contextmanager
        def compiling(source: WasmSource) -> Iterator[None]:
            if len(source.data) < _LONG_COMPILE:
                yield
                return
            size = len(source.data) / 1e6
            task = progress.add_task(f"Compiling {source.path.name} ({size:.0f} MB)", total=None)
            yield
            progress.remove_task(task)

        return load(file, compiling)


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(log.escape(cell)) for cell in row))
    _out.print(table)


def _warn(warnings: Iterable[Problem]) -> None:
    for warning in warnings:
        _err.print(f"warning: {log.escape(str(warning))}", markup=False)


def _environment(files: list[Path], variables: list[str]) -> dict[str, str]:
    """Raises StartupError with every mistake."""
    environment: dict[str, str] = {}
    problems: list[Problem] = []
    for file in files:
        try:
            environment |= parse_env_file(file)
        except StartupError as error:
            problems += error.problems
    for variable in variables:
        try:
            environment |= [parse_variable(variable)]
        except ValueError as error:
            problems.append(Problem("--env", f'"{variable}": {error}'))
    for name in META_VARIABLES.intersection(environment):
        problems.append(Problem("--env or --env-file", f"{name}: the request sets this variable; choose another name"))
    if problems:
        raise StartupError(*problems)
    return environment


def _read_data(data: str | None) -> bytes:
    if data is None:
        return b""
    if data == "-":
        return sys.stdin.buffer.read()
    if data.startswith("@"):
        try:
            return Path(data[1:]).read_bytes()
        except OSError as error:
            raise StartupError(Problem("--data", f"{data[1:]} cannot be read: {error.strerror}")) from None
    return data.encode()


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _absolute(directory: str | None) -> str | None:
    """A directory of the command line is relative to where the command was given, not to the file."""
    return None if directory is None else str(Path(directory).absolute())
