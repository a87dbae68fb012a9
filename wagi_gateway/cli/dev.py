"""The command `dev`: builds, serves and watches a configuration, with an inspector in the browser."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..config.envfile import parse_variable
from ..config.file import ConfigFile, read_config
from ..errors import Problem, StartupError
from .terminal import AuthFile, CacheDir, SettingsFile, exit_on_problems, load_site, setting_overrides


def dev(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="The modules.toml, or a Pod manifest (.yaml).")
    ] = Path("modules.toml"),
    listen: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="HOST:PORT of a loopback address (server.listen).")
    ] = None,
    inspector: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="HOST:PORT of the inspector; 127.0.0.1:3001 or the next free.")
    ] = None,
    stale: Annotated[bool, typer.Option("--stale", help="Answer from the old module after a failed build.")] = False,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME=VALUE", help="Environment variable for every module; repeatable."),
    ] = None,
    settings_file: SettingsFile = None,
    cache_dir: CacheDir = None,
    auth_file: AuthFile = None,
) -> None:
    """Build and serve CONFIG for development: rebuilds on change, and shows each request in an inspector."""
    with exit_on_problems(exit_code=3):
        from ..dev.server import DevelopmentOptions, develop

        overrides = setting_overrides(cache_dir, auth_file) | {"environment": _environment(env or [])}

        def read() -> ConfigFile:
            return read_config(config, overrides, settings_file)

        files = tuple(path for path in (config, settings_file) if path)
        develop(
            DevelopmentOptions(
                read=read,
                load=partial(load_site, has_source_lines=True),
                files=files,
                listen=listen,
                inspector=inspector,
                is_stale_served=stale,
            )
        )


def _environment(variables: list[str]) -> dict[str, object]:
    """The variables of `--env`. Raises StartupError."""
    environment: dict[str, object] = {}
    for number, variable in enumerate(variables, start=1):
        try:
            environment |= [parse_variable(variable)]
        except ValueError as error:  # the text may hold a secret, and is not shown
            raise StartupError(Problem(f"--env (number {number} of {len(variables)})", str(error))) from None
    return environment
