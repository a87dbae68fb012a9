"""The command `dev`: builds, serves and watches a configuration, with an inspector in the browser."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from .terminal import (
    AuthFile,
    CacheDir,
    ConfigPath,
    SettingsFile,
    environment_of,
    exit_on_problems,
    given_config,
    load_site,
    setting_overrides,
)


def dev(
    config: ConfigPath = None,
    listen: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="HOST:PORT of a loopback address (server.listen).")
    ] = None,
    inspector: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="HOST:PORT of the inspector; 127.0.0.1:3001 or the next free.")
    ] = None,
    stale: Annotated[bool, typer.Option("--stale", help="Answer from the old module after a failed build.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Add a script to HTML pages that loads them anew after a change.")
    ] = False,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME=VALUE", help="Environment variable for every module; repeatable."),
    ] = None,
    settings_file: SettingsFile = None,
    cache_dir: CacheDir = None,
    auth_file: AuthFile = None,
) -> None:
    """Build, serve and watch CONFIG, with an inspector.

    A change of a source builds and serves it again. The inspector shows each request in the browser.
    """
    from ..config.file import ConfigFile, read_config
    from ..dev.export import ServedConfiguration
    from ..dev.server import DevelopmentOptions, develop

    with exit_on_problems(exit_code=3):
        path = given_config(config)
        environment = environment_of([], env or [])
        overrides = setting_overrides(cache_dir, auth_file) | {"environment": environment}

        def read() -> ConfigFile:
            return read_config(path, overrides, settings_file)

        develop(
            DevelopmentOptions(
                read=read,
                load=partial(load_site, has_source_lines=True),
                config=ServedConfiguration(path, settings_file, environment),
                listen=listen,
                inspector=inspector,
                is_stale_served=stale,
                is_live=live,
            )
        )
