"""The command `build`: the builds of a modules.toml, one after the other."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..build.preinitialised import is_preinitialised
from ..build.secret_names import secrets_of_environment
from ..errors import Problem, StartupError
from .terminal import exit_on_problems, fail, given_config, print_warnings

if TYPE_CHECKING:
    import asyncio

    from ..build.module_builds import ModuleBuild

_MAX_NAMES = 20
"""Names of variables in a warning."""
_ENDED_BY = 128
"""Added to the number of a signal in an exit code, as a shell does."""


def build(
    route: Annotated[
        str | None, typer.Argument(metavar="[ROUTE]", help="Build the module of this route alone.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="CONFIG", help="The modules.toml; ./modules.toml if left out."),
    ] = None,
) -> None:
    """Run the builds of the modules in CONFIG, in its order. Exits with the code of the first that fails.

    The output of the commands is unchanged. No other command but dev executes a build.
    """
    import asyncio

    from ..build.module_builds import module_builds
    from ..config.file import read_config
    from ..observe import log

    log.configure_for_run()
    with exit_on_problems(exit_code=3):
        file = read_config(given_config(config))
        if file.problems:
            raise StartupError(*file.problems, warnings=file.warnings)
        builds = module_builds(file, route)
        if not builds:
            typer.echo(f"Nothing to build: no [[module]] in {file.path} has a build.", err=True)
        for one in builds:
            if code := asyncio.run(_run(one)):
                raise typer.Exit(code)


async def _run(one: ModuleBuild) -> int:
    """Runs a build; returns its exit code, in a shell's notation. SIGINT and SIGTERM end its process group.

    Raises StartupError.
    """
    import asyncio

    from ..observe import log

    typer.echo(f"Building {', '.join(one.routes)}: {log.escape(str(one.build))}", err=True)
    names = secrets_of_environment()
    if one.build.snapshot and names:
        print_warnings([Problem(one.where, f"build.snapshot: {_secrets(names)}")])
    if one.build.directory.is_dir() and (missing := one.build.missing_tool()):
        raise StartupError(Problem(one.where, f"build: {missing.what}; {missing.install}"))
    task = asyncio.create_task(one.build.run())
    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, _cancel, task, received, number)
    try:
        code = await task
    except asyncio.CancelledError:
        code = -received[0]
    except StartupError as error:
        raise StartupError(*(Problem(one.where, str(problem)) for problem in error.problems)) from None
    if code:
        fail(f"{one.where}: build: {_end(code)}: {one.build}")
        return code if code > 0 else _ENDED_BY - code
    for module in one.modules:
        if not module.exists():
            raise StartupError(Problem(one.where, f"build: made no {module}; module names that file"))
    if names and not one.build.snapshot and any(map(is_preinitialised, filter(Path.is_file, one.modules))):
        print_warnings([Problem(one.where, f"build: {_secrets(names)}")])
    return 0


def _secrets(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return (
        f"the environment has {', '.join(names[:_MAX_NAMES])}{more}; what the build reads of it may be kept in the "
        "module's file: unset it, or keep the module as secret"
    )


def _cancel(task: asyncio.Task[int], received: list[int], number: int) -> None:
    received.append(number)
    task.cancel()


def _end(code: int) -> str:
    return f"ended with exit code {code}" if code > 0 else f"ended by {signal.Signals(-code).name}"
