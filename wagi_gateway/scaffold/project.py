"""New folders of modules, written whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..config.file import config_from_tables, read_toml
from ..config.settings import Config
from ..errors import Problem, StartupError
from ..router import RoutePattern
from .template import Template

CONFIG = "modules.toml"
SCHEMA = "modules.schema.json"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def check_name(name: str) -> str:
    """The name of a new folder, package and program. Raises StartupError."""
    if _NAME.fullmatch(name):
        return name
    advice = "write a letter, then letters of English, digits, - and _, at most 64 in all"
    if "/" in name:
        advice = f"a name is no path; {advice}"
    raise StartupError(Problem("NAME", f'"{name[:100]}": {advice}'))


def check_route(route: str) -> RoutePattern:
    """The pattern of a route. Raises StartupError."""
    try:
        return RoutePattern(route)
    except ValueError as error:
        raise StartupError(Problem("--route", f'"{route}": {error}')) from None


def create_project(parent: Path, template: Template) -> Path:
    """Makes the folder of a new project, with its modules.toml; returns its path. Raises StartupError."""
    schema = json.dumps(Config.model_json_schema(), indent=2) + "\n"
    content = [*template.project_files(), *template.module_files(), (SCHEMA, schema.encode())]
    with _new_folder(parent / template.name, content) as folder:
        return folder


def add_module(config: Path, template: Template) -> Path:
    """Makes the folder of a new module beside an existing modules.toml, and adds its `[[module]]`; returns its path.

    The text of the file stays, with its comments. Raises StartupError.
    """
    text = _extended(config, template)
    with _new_folder(config.parent / template.name, template.module_files()) as folder:
        _replace(config.resolve(), text)
        return folder


def _extended(config: Path, template: Template) -> str:
    """The text of modules.toml with the module's table at its end. Raises StartupError."""
    before = config_from_tables(config, {"module": []} | read_toml(config))
    if before.problems:
        raise StartupError(*before.problems)
    keys = {(pattern.key, pattern.is_prefix): pattern.text for pattern in _patterns(before.config)}
    if taken := keys.get((template.route.key, template.route.is_prefix)):
        raise StartupError(Problem("--route", f"{config} has the route {taken} already; give another one"))
    text = config.read_bytes().decode()
    text += ("" if text.endswith("\n") or not text else "\n") + f"\n{template.module_table()}"
    try:
        count = len(tomllib.loads(text.removeprefix("\ufeff"))["module"])
    except tomllib.TOMLDecodeError:  # behind module = [{ … }] there may be no table of that name
        count = 0
    if count != len(before.config.module) + 1:
        what = f"takes no further [[module]] at its end; add it yourself:\n{template.module_table()}"
        raise StartupError(Problem(str(config), what))
    return text


def _patterns(config: Config) -> Iterator[RoutePattern]:
    for route in (*(one.route for one in config.module), *(one.route for one in config.static)):
        try:
            yield RoutePattern(route)
        except ValueError:
            continue  # `check` says so


@contextmanager
def _new_folder(path: Path, content: Iterable[tuple[str, bytes]]) -> Iterator[Path]:
    """A folder with these files, which is removed again if the block fails. Raises StartupError."""
    if os.path.lexists(path):
        raise StartupError(Problem("NAME", f"{path} exists already; nothing is overwritten, choose another name"))
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as temporary:
            made = Path(temporary, path.name)
            made.mkdir()
            for name, data in content:
                file = made / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
                if file.suffix == ".sh":
                    file.chmod(file.stat().st_mode | 0o111)
            made.rename(path)
    except OSError as error:
        raise StartupError(Problem("NAME", f"{path} cannot be made: {error.strerror}")) from None
    try:
        yield path
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _replace(path: Path, text: str) -> None:
    """Replaces a file atomically; its mode stays. Raises StartupError."""
    try:
        with tempfile.TemporaryDirectory(prefix=".modules-", dir=path.parent) as temporary:
            new = Path(temporary, path.name)
            new.write_bytes(text.encode())
            shutil.copymode(path, new)
            new.replace(path)
    except OSError as error:
        raise StartupError(Problem(str(path), f"cannot be written: {error.strerror}")) from None
