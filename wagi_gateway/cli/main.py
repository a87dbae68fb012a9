"""The program `wagi-gateway`: its commands, their options, and the calls of the package behind each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import Problem, StartupError
from ..version import __version__
from . import registry as cli_registry
from . import standard_streams
from .bridge import bridge
from .build import build
from .check import check
from .dev import dev
from .doctor import doctor
from .new import add, new
from .node import node
from .run import run
from .terminal import (
    AuthFile,
    CacheDir,
    ConfigPath,
    SettingsFile,
    absolute,
    environment_of,
    exit_on_problems,
    given_config,
    load_site,
    print_warnings,
    setting_overrides,
    without_none,
)

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
    config: ConfigPath = None,
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
    log_format: Annotated[
        Literal["auto", "text", "json", "terminal"] | None, typer.Option(help="Format of the log (log.format).")
    ] = None,
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
    from ..config.file import ConfigFile, read_config
    from ..config.reader import Overrides
    from ..config.settings import LogConfig
    from ..observe import log
    from ..server import serve as server

    if log_format == "json":
        log.configure(LogConfig(format="json"))
    with exit_on_problems(exit_code=3):
        path = given_config(config)
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
            given_environment = {"environment": environment_of(env_file or [], env or [])}
            file = read_config(path, {**overrides, **given_environment}, settings_file)
            return replace(file, env_files=tuple(env_file or ()))

        watched = [one for one in (path, settings_file, *(env_file or [])) if one] if reload else None
        server.serve(read, load=load_site, watched=watched)


app.command()(check)


@app.command()
def routes(
    config: ConfigPath = None,
    settings_file: SettingsFile = None,
    cache_dir: CacheDir = None,
    auth_file: AuthFile = None,
) -> None:
    """List the routes of CONFIG with what their modules may use."""
    from ..config.file import read_config
    from ..observe import log
    from .routes import print_routes

    log.configure_for_run()
    with exit_on_problems(exit_code=1):
        site = load_site(read_config(given_config(config), setting_overrides(cache_dir, auth_file), settings_file))
    site.close()
    print_routes(site)


app.command(context_settings={"token_normalize_func": lambda name: name.replace("_", "-")})(run)


@app.command()
def convert(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="spin.toml|POD.yaml",
            help="A Spin or Pod manifest.",
            show_default=False,
        ),
    ],
    settings_file: SettingsFile = None,
) -> None:
    """Print the modules.toml for a spin.toml or Pod manifest."""
    from ..config.pod.toml import write_toml

    with exit_on_problems(exit_code=1):
        if manifest.suffix == ".toml":
            print(_converted_spin(manifest, settings_file), end="")
            return
        from ..config.file import pod_tables
        from ..config.pod.manifest import read_pod

        file = read_pod(manifest)
        if file.problems:
            raise StartupError(*file.problems, warnings=file.warnings)
        tables = pod_tables(file, settings_file)
    print_warnings(file.warnings)
    print(write_toml(tables, [f"container {name}" for name in file.containers]), end="")


def _converted_spin(path: Path, settings_file: Path | None) -> str:
    """The text of a modules.toml for a Spin manifest; its warnings are printed. Raises StartupError."""
    from ..config.pod.toml import write_toml
    from ..config.spin.conversion import read_spin

    if settings_file:
        raise StartupError(Problem("--settings", "goes with a Pod manifest"))
    file = read_spin(path)
    print_warnings(file.warnings)
    head = f"{file.about}, converted from {path.name}; paths are relative to its directory."
    return write_toml(file.tables, [f"component {name}" for name in file.components], file.notes, head.lstrip(", "))


app.command()(new)
app.command()(add)
app.command()(build)
app.command()(bridge)
app.command()(doctor)
app.command()(dev)
app.command()(node)
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
    if uds is not None:
        if listen is not None:
            raise StartupError(Problem("--uds", "says what --listen says; give one of them"))
        listen = f"unix:{uds}"
    from ..config.values import parse_unix

    path = parse_unix(listen) if listen else None
    return f"unix:{absolute(path)}" if path else listen
