"""The program `wagi-gateway`: its commands, their options, and the calls of the package behind each.

Each command imports what it calls: the imports of the server alone take half a second.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import Problem, StartupError, redact_value
from ..version import __version__
from . import registry as cli_registry
from . import standard_streams
from .terminal import (
    AuthFile,
    CacheDir,
    ConfigPath,
    SettingsFile,
    absolute,
    exit_on_problems,
    load_site,
    print_table,
    print_warnings,
    setting_overrides,
    without_none,
)

if TYPE_CHECKING:
    from ..config.file import ConfigFile
    from ..config.reader import Overrides

app = typer.Typer(
    help="Serve WebAssembly command-line programs over HTTP: CGI for WebAssembly, one fresh sandbox per request.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
Variables = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", metavar="NAME=VALUE", help="Environment variable for every module; repeatable."),
]


def main() -> None:
    """Runs the command in `sys.argv`."""
    standard_streams.complete()
    try:
        app()
    finally:
        standard_streams.drop_unwritten_errors()


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
        str | None,
        typer.Option(metavar="ADDRESS", help="HOST:PORT, unix:PATH or fd:N to serve on (server.listen)."),
    ] = None,
    uds: Annotated[
        str | None, typer.Option(metavar="PATH", help="UNIX socket to serve on, as --listen unix:PATH.")
    ] = None,
    tls_cert: Annotated[
        str | None, typer.Option(metavar="FILE", help="Certificate to speak TLS with, PEM (server.tls_cert).")
    ] = None,
    tls_key: Annotated[str | None, typer.Option(metavar="FILE", help="Its private key, PEM (server.tls_key).")] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=256, help="Processes that serve (server.workers).")
    ] = None,
    admin: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address for metrics, status and reload (admin.listen).")
    ] = None,
    env: Variables = None,
    env_file: Annotated[
        list[Path] | None,
        typer.Option("--env-file", metavar="FILE", help="File of NAME=VALUE lines; repeatable, --env wins."),
    ] = None,
    log_format: Annotated[Literal["text", "json"] | None, typer.Option(help="Format of the log (log.format).")] = None,
    log_dir: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Where guests' standard error goes, a file for each route (log.directory)."),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Reload when CONFIG or a file it names changes; for development.")
    ] = False,
    settings_file: SettingsFile = None,
    cache_dir: CacheDir = None,
    auth_file: AuthFile = None,
) -> None:
    """Serve the modules of CONFIG. SIGHUP has them and CONFIG read anew, without losing a request."""
    from ..config.file import read_config
    from ..config.settings import LogConfig
    from ..observe import log
    from ..server import serve as server

    if log_format == "json":
        log.configure(LogConfig(format="json"))
    with exit_on_problems(exit_code=3):
        overrides: Overrides = setting_overrides(cache_dir, auth_file) | {
            "server": without_none(
                listen=_address(listen, uds),
                workers=workers,
                tls_cert=absolute(tls_cert),
                tls_key=absolute(tls_key),
            ),
            "log": without_none(format=log_format, directory=absolute(log_dir)),
            "admin": without_none(listen=admin),
        }

        def read() -> ConfigFile:
            given_environment = {"environment": _environment(env_file or [], env or [])}
            file = read_config(config, {**overrides, **given_environment}, settings_file)
            return replace(file, env_files=tuple(env_file or ()))

        watched = [path for path in (config, settings_file, *(env_file or [])) if path] if reload else None
        server.serve(read, load=load_site, watched=watched)


@app.command()
def check(
    config: ConfigPath, settings_file: SettingsFile = None, cache_dir: CacheDir = None, auth_file: AuthFile = None
) -> None:
    """Load, link and try everything in CONFIG, without serving it. Exits with 1 if a start would fail."""
    from ..config.file import read_config
    from ..observe import log

    log.configure_for_run()
    mistakes: Sequence[Problem] = ()
    findings = []
    try:
        with closing(load_site(read_config(config, setting_overrides(cache_dir, auth_file), settings_file))) as site:
            findings = [("ok", p.text, f"{e.source} ({e.entrypoint})") for p, e in site.routes]
            findings += [("ok", p.text, f"{d.source} (files)") for p, d in site.static]
            findings += [("may call", route, what) for route, what in site.permissions()]
            findings += site.shared()
            warnings: Sequence[Problem] = site.warnings
    except StartupError as error:
        mistakes, warnings = error.problems, error.warnings
    findings += [("warning", warning.where, warning.what) for warning in warnings]
    findings += [("error", mistake.where, mistake.what) for mistake in mistakes]
    print_table(("result", "where", "what"), findings)
    raise typer.Exit(1 if mistakes else 0)


@app.command()
def routes(
    config: ConfigPath, settings_file: SettingsFile = None, cache_dir: CacheDir = None, auth_file: AuthFile = None
) -> None:
    """List the routes of CONFIG with what their modules may use."""
    from pydantic import ByteSize

    from ..config.file import read_config
    from ..config.values import as_written
    from ..observe import log
    from ..observe.module_log import module_log

    log.configure_for_run()
    with exit_on_problems(exit_code=1):
        site = load_site(read_config(config, setting_overrides(cache_dir, auth_file), settings_file))
    site.close()
    rows = [
        (
            pattern.text,
            endpoint.source,
            endpoint.entrypoint,
            as_written(endpoint.limits.time, float),
            as_written(endpoint.limits.memory, ByteSize),
            str(endpoint.limits.concurrency),
            ", ".join(map(redact_value, endpoint.config.allowed_hosts or ())) or "none",
        )
        for pattern, endpoint in site.routes
    ]
    rows += [(p.text, directory.source, "files", "", "", "", "") for p, directory in site.static]
    print_table(("route", "module", "entrypoint", "time", "memory", "concurrency", "allowed hosts"), rows)
    if site.log_directory:
        files = [(pattern.text, str(module_log(site.log_directory, pattern.text))) for pattern, _ in site.routes]
        print_table(("route", "standard error"), files)


@app.command()
def run(
    module: Annotated[
        str, typer.Argument(metavar="MODULE", help="The .wasm or .wat file, or oci:REFERENCE.", show_default=False)
    ],
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
    settings_file: SettingsFile = None,
    cache_dir: CacheDir = None,
    auth_file: AuthFile = None,
) -> None:
    """Run MODULE for one request, without a server.

    The response goes to standard output and the guest's standard error to standard error. Exits with 0 for a status
    below 400, with 4 and 5 for the 400s and 500s, and with 3 if the module cannot be run.
    """
    from ..observe import log
    from .run import RunRequest, load_once, run_once

    with exit_on_problems(exit_code=3):
        log.configure_for_run()
        request = RunRequest(
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
        with closing(load_once(request, setting_overrides(cache_dir, auth_file), load_site, settings_file)) as site:
            print_warnings(site.warnings)
            status = run_once(site, request, sys.stdout.buffer)
    raise typer.Exit(0 if status < 400 else status // 100)


@app.command()
def convert(
    pod: Annotated[Path, typer.Argument(metavar="POD.yaml", help="A Kubernetes Pod manifest.", show_default=False)],
    settings_file: SettingsFile = None,
) -> None:
    """Print the modules.toml that replaces a Krustlet Pod manifest."""
    from ..config.file import pod_tables
    from ..config.pod.manifest import read_pod
    from ..config.pod.toml import write_toml

    with exit_on_problems(exit_code=1):
        file = read_pod(pod)
        if file.problems:
            raise StartupError(*file.problems, warnings=file.warnings)
        tables = pod_tables(file, settings_file)
    print_warnings(file.warnings)
    print(write_toml(tables, [f"container {name}" for name in file.containers]), end="")


app.command()(cli_registry.pull)
app.command()(cli_registry.push)
app.command()(cli_registry.inspect)
app.add_typer(cli_registry.cache, name="cache")


@app.command()
def schema() -> None:
    """Print the JSON Schema of modules.toml, for editors."""
    from ..config.settings import Config

    print(json.dumps(Config.model_json_schema(), indent=2))


def _address(listen: str | None, uds: str | None) -> str | None:
    """The address to serve on; a relative `unix:` path starts in the working directory.

    Raises StartupError if both options are given.
    """
    from ..config.values import parse_unix

    if uds is not None:
        if listen is not None:
            raise StartupError(Problem("--uds", "says what --listen says; give one of them"))
        listen = f"unix:{uds}"
    path = parse_unix(listen) if listen else None
    return f"unix:{absolute(path)}" if path else listen


def _environment(files: list[Path], variables: list[str]) -> dict[str, str]:
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


def _read_data(data: str | None) -> bytes:
    """The request body of `--data`: text, `@FILE`, or `-` for standard input. Raises StartupError."""
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
