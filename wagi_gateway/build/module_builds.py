"""The builds of a configuration, in the order of the file."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..config.file import ConfigFile
from ..config.settings import ModuleConfig
from ..errors import Problem, StartupError
from ..sources.file import resolve
from ..sources.modules import is_image
from .runner import Build


class ModuleBuild(NamedTuple):
    """The build of one or several `[[module]]` tables: those with the same command and directory are built once."""

    where: str
    """The first table, in messages."""
    routes: tuple[str, ...]
    modules: tuple[Path, ...]
    """The files that the build makes."""
    build: Build


def module_builds(file: ConfigFile, route: str | None = None) -> list[ModuleBuild]:
    """The builds of a configuration, or that of one route. Raises StartupError for a route without a build."""
    builds: dict[tuple[object, ...], ModuleBuild] = {}
    for number, module in enumerate(file.config.module):
        if module.build is None or route not in (None, module.route):
            continue
        output = next(_module_path(module, file.base), None)
        build = Build(module.build, file.base, entrypoint=module.entrypoint, output=output)
        key: tuple[object, ...] = build.command, build.directory
        if build.snapshot:
            key += (output, module.entrypoint, str(build.snapshot))
        first = builds.get(key, ModuleBuild(file.where(number), (), (), build))
        builds[key] = first._replace(
            routes=(*first.routes, module.route), modules=(*first.modules, *_module_path(module, file.base))
        )
    if route is not None and not builds:
        raise StartupError(Problem("ROUTE", _why_nothing(file, route)))
    return list(builds.values())


def _module_path(module: ModuleConfig, base: Path) -> Iterator[Path]:
    if not is_image(module.module):
        with suppress(ValueError):  # `check` says what is wrong
            yield resolve(module.module, base).path


def _why_nothing(file: ConfigFile, route: str) -> str:
    routes = [module.route for module in file.config.module]
    if route in routes:
        return f'{route} has no build; add build = {{ command = ["…"] }} to its [[module]] in {file.path}'
    if not route.startswith("/"):
        return f'"{route}": a route begins with "/"; --config names another file than modules.toml'
    near = difflib.get_close_matches(route, routes, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(routes) or 'none'}"
    return f"{file.path} has no route {route}; {advice}"
