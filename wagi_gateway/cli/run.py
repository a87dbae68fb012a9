"""The `run` command: one request to a module or a configuration, without a server."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Annotated, Any

import typer

from .limit_options import LIMITS, limit_option
from .terminal import (
    AuthFile,
    CacheDir,
    SettingsFile,
    environment_of,
    exit_on_problems,
    given_config,
    load_site,
    print_problems,
    print_warnings,
    setting_overrides,
)

_NUMBER = re.compile(r"[0-9]{1,18}")


def _with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each of LIMITS; its parameter `limits` gets those that are given."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "limits"]
    options = [
        inspect.Parameter(
            f"limit_{name}",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None, typer.Option(limit_option(name), metavar="VALUE", help=f"The module's limits.{name}.")
            ],
        )
        for name in LIMITS
    ]

    @functools.wraps(command)
    def with_limits(**arguments: Any) -> None:
        values = {name: arguments.pop(f"limit_{name}") for name in LIMITS}
        command(**arguments, limits={name: value for name, value in values.items() if value is not None})

    with_limits.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    with_limits.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *options]}
    del with_limits.__wrapped__
    return with_limits


@_with_limits
def run(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE|CONFIG]",
            help="A .wasm or .wat file, HOST/NAME:TAG or oci:REFERENCE; a modules.toml (the default) or Pod manifest.",
            show_default=False,
        ),
    ] = None,
    path: Annotated[str, typer.Option(help="Path of the request; a question mark begins the query.")] = "/",
    query: Annotated[str, typer.Option(help="Query, or more of it.")] = "",
    method: Annotated[
        str | None, typer.Option("--method", "-X", "--request", help="Method; POST if there is a body, else GET.")
    ] = None,
    head: Annotated[bool, typer.Option("--head", "-I", help="Send a HEAD request.")] = False,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME: VALUE", help="Header field; repeatable.")
    ] = None,
    cookie: Annotated[
        list[str] | None, typer.Option("--cookie", "-b", metavar="NAME=VALUE", help="Cookie; repeatable.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            "--data-binary",
            metavar="DATA",
            help="Body: text, @FILE, or - for standard input; repeatable, joined by &.",
        ),
    ] = None,
    data_raw: Annotated[
        list[str] | None,
        typer.Option("--data-raw", metavar="TEXT", help="Body: text, in which @ and - have no meaning; repeatable."),
    ] = None,
    json: Annotated[
        list[str] | None, typer.Option("--json", metavar="DATA", help="Body as by --data, of JSON; repeatable.")
    ] = None,
    include: Annotated[
        bool, typer.Option("--include", "-i", help="Print the response's head and body, which is the default.")
    ] = False,
    body: Annotated[bool, typer.Option("--body", help="Print the response's body alone.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Print what the module prints, as it is.")] = False,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME=VALUE", help="Environment variable of the guest; repeatable."),
    ] = None,
    volume: Annotated[
        list[str] | None,
        typer.Option("--volume", metavar="GUEST=HOST[:ro]", help="Directory that MODULE may open; repeatable."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="ENTRY", help="Host that MODULE may call, as in allowed_hosts; repeatable."),
    ] = None,
    route: Annotated[
        str | None,
        typer.Option(help="Have the module of this route answer alone, of a CONFIG with several.", show_default=False),
    ] = None,
    entrypoint: Annotated[
        str | None, typer.Option(help="Exported function of MODULE to call; _start if left out.", show_default=False)
    ] = None,
    argv: Annotated[str | None, typer.Option(help="Template of MODULE's argument vector, as in modules.toml.")] = None,
    missing_imports: Annotated[
        str | None, typer.Option(help='As in modules.toml: "trap" takes a MODULE with missing imports.')
    ] = None,
    settings_file: SettingsFile = None,
    cache_dir: CacheDir = None,
    auth_file: AuthFile = None,
    *,
    limits: dict[str, str],
) -> None:
    """Run one request without a server.

    MODULE answers the request, or the route of CONFIG that matches it. The response goes to standard output and the
    guest's standard error to standard error. Exits with 0 for a status below 400, with 4 and 5 for the 400s and 500s,
    and with 3 if the module or configuration cannot be run.
    """
    from ..observe import log
    from .run_once import Show, run_once, unmatched
    from .run_request import RunRequest, read_data, read_json
    from .run_target import RunTarget

    with exit_on_problems(exit_code=3):
        log.configure_for_run()
        wanted = RunTarget(
            what=target if target is not None else str(given_config(None)),
            volumes=tuple(volume or ()),
            allowed_hosts=tuple(allow_host or ()),
            entrypoint=entrypoint,
            argv=argv,
            missing_imports=missing_imports,
            route=route,
        )
        if include + body + raw > 1:
            raise typer.BadParameter("give one of them", param_hint="--include, --body, --raw")
        if json and (data or data_raw):
            raise typer.BadParameter("give one of them", param_hint="--json, --data")
        request = RunRequest(
            path=path,
            query=query,
            method="HEAD" if head and method is None else method,
            headers=(*(header or ()), *([f"cookie: {'; '.join(cookie)}"] if cookie else ())),
            data=read_json(json) if json else read_data(data, data_raw),
            is_json=bool(json),
        )
        overrides: dict[str, Mapping[str, object]] = {
            **setting_overrides(cache_dir, auth_file),
            "environment": environment_of([], env or []),
            "limits": {name: int(value) if _NUMBER.fullmatch(value) else value for name, value in limits.items()},
        }
        load = functools.partial(load_site, has_source_lines=True)
        with closing(wanted.load(overrides, load, settings_file)) as site:
            print_warnings(site.warnings)
            show: Show = "raw" if raw else "body" if body else "response"
            status = run_once(site, request, sys.stdout.buffer, show)
            if status == 404:
                print_problems(unmatched(site, request))
    raise typer.Exit(0 if status < 400 else status // 100)
