"""The commands `new` and `add`: a project, and a further module, from templates."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..build.toolchain import missing_tool
from ..errors import Problem, StartupError
from ..scaffold.language import LANGUAGES, Language
from ..scaffold.template import Template
from .terminal import exit_on_problems, print_warnings

_Name = Annotated[
    str | None, typer.Argument(metavar="NAME", help="The folder to make, and the program's name.", show_default=False)
]
_Lang = Annotated[str | None, typer.Option("--lang", "-l", metavar="LANGUAGE", help=f"One of {', '.join(LANGUAGES)}.")]


def new(
    name: _Name = None,
    lang: _Lang = None,
    route: Annotated[str, typer.Option(metavar="ROUTE", help="The route that answers.")] = "/...",
) -> None:
    """Make a program, its build and a modules.toml in a folder.

    On a terminal, NAME and --lang are asked for. Nothing is overwritten and nothing is fetched.
    """
    from ..scaffold.project import check_route, create_project

    with exit_on_problems(exit_code=1):
        name, language = _name(name), _language(lang)
        template = Template(language, name, check_route(route))
        folder = create_project(Path(), template)
        _warn_of_missing_tool(template)
    print(f"{folder}: {language.title}, served at {template.route.text}")
    print(f"cd {shlex.quote(str(folder))} && wagi-gateway dev")


def add(
    name: _Name = None,
    lang: _Lang = None,
    route: Annotated[
        str | None, typer.Option(metavar="ROUTE", help="The route that answers; /NAME/... without it.")
    ] = None,
    config: Annotated[Path, typer.Option("--config", "-c", metavar="CONFIG", help="The modules.toml.")] = Path(
        "modules.toml"
    ),
) -> None:
    """Make a further module beside CONFIG, and add it there."""
    from ..scaffold.project import add_module, check_route

    with exit_on_problems(exit_code=1):
        name, language = _name(name), _language(lang)
        template = Template(language, name, check_route(f"/{name}/..." if route is None else route), folder=name)
        folder = add_module(config, template)
        _warn_of_missing_tool(template)
    print(f"{folder}: {language.title}, served at {template.route.text} by {config}")


def _name(name: str | None) -> str:
    if name is None:
        name = _ask("Name of the new folder", "NAME", "give the name of the folder to make")
    from ..scaffold.project import check_name

    return check_name(name)


def _language(name: str | None) -> Language:
    if name is None:
        name = _ask(f"Language ({', '.join(LANGUAGES)})", "--lang", f"give one of {', '.join(LANGUAGES)}")
    if language := LANGUAGES.get(name.lower()):
        return language
    raise StartupError(Problem("--lang", f'"{name}": there is no such template; give one of {", ".join(LANGUAGES)}'))


def _ask(question: str, where: str, advice: str) -> str:
    """The answer of a person at a terminal. Raises StartupError without a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise StartupError(Problem(where, f"missing; {advice}"))
    return str(typer.prompt(question)).strip()


def _warn_of_missing_tool(template: Template) -> None:
    command = template.build_command()
    if command and (missing := missing_tool(command, Path())):
        print_warnings([Problem("", f"{missing.what}; before the first build: {missing.install}")])
