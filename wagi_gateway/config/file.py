"""Reads a `modules.toml` or a Pod manifest into a Config, with every mistake in the words of the file."""

from __future__ import annotations

import copy
import os
import shlex
import tempfile
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from ..errors import Problem, StartupError
from .foreign import name_foreign
from .reader import ConfigReader, Overrides
from .settings import Config

if TYPE_CHECKING:  # pod.manifest imports the YAML parser, which a modules.toml does not need
    from .pod.manifest import PodFile

OPTIONS = {
    "admin.listen": "--admin",
    "auth_file": "--auth-file",
    "cache.directory": "--cache-dir",
    "log.directory": "--log-dir",
    "server.tls_cert": "--tls-cert",
    "server.tls_key": "--tls-key",
}
"""The options of the command line for settings that a load compares with the system, by the key of each setting."""

_MAX_DEPTH = 64
_TOO_DEEP = f"is not valid TOML: tables and arrays are nested more than {_MAX_DEPTH} levels"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The configuration of a file: its valid settings, its problems and its warnings."""

    path: Path
    config: Config
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    containers: tuple[str, ...] = ()
    """The container of each `[[module]]`, for a Pod manifest."""
    settings: Path | None = None
    """The TOML file with the settings that a Pod manifest cannot hold."""
    env_files: tuple[Path, ...] = ()
    """The files of `--env-file`."""
    overridden: frozenset[str] = frozenset()
    """The keys of OPTIONS that the command line has set."""

    @property
    def base(self) -> Path:
        """The directory that relative paths start from; the paths in a Pod manifest are absolute."""
        return (self.settings or self.path).parent

    def as_given(self, problem: Problem) -> Problem:
        """The problem of a setting by the name of its option, if the command line has set it."""
        key, equals, rest = problem.what.partition(" = ")
        return Problem("command line", f"{OPTIONS[key]} {rest}") if equals and key in self.overridden else problem

    def where(self, number: int) -> str:
        """The name of a `[[module]]`, counted from 0, in messages."""
        if self.containers:
            return f"{self.path}: container {self.containers[number]}"
        return f"{self.path}: [[module]] {number + 1} ({self.config.module[number].route})"


def read_config(path: str | Path, overrides: Overrides | None = None, settings: Path | None = None) -> ConfigFile:
    """Reads a `modules.toml` or a Pod manifest (`.yaml`); `overrides` win over the file.

    `settings` is a TOML file with the settings that a Pod manifest cannot hold. Valid settings are kept beside
    mistakes, so that start-up checks them too. Raises StartupError for a file that cannot be read or parsed.
    """
    path = Path(path)
    if path.suffix in (".yaml", ".yml"):
        from .pod.manifest import read_pod

        return _config_from_pod(read_pod(path), path, overrides, settings)
    if settings:
        raise StartupError(Problem("--settings", f"goes with a Pod manifest; {path} has its own tables"))
    if path.suffix in (".wasm", ".wat"):
        what = "is a module; name a modules.toml with a [[module]] for it, or answer one request: wagi-gateway run"
        raise StartupError(Problem(str(path), f"{what} {shlex.quote(str(path))}"))
    tables = read_toml(path)
    if foreign := name_foreign(path, tables):
        raise StartupError(Problem(str(path), foreign))
    return config_from_tables(path, tables, overrides)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises StartupError."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise StartupError(Problem(str(path), f"cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError:
        raise StartupError(Problem(str(path), "is not UTF-8 text; a modules.toml is wanted here")) from None
    except tomllib.TOMLDecodeError as error:
        raise StartupError(Problem(str(path), f"is not valid TOML: {error}")) from None
    except RecursionError:
        raise StartupError(Problem(str(path), _TOO_DEEP)) from None
    except ValueError:  # of int(), from 4,300 digits on
        raise StartupError(Problem(str(path), "is not valid TOML: a number has too many digits")) from None
    if is_too_deep(tables):
        raise StartupError(Problem(str(path), _TOO_DEEP))
    return tables


def is_too_deep(tables: dict[str, Any]) -> bool:
    """Whether tables and arrays are nested more than 64 levels: functions that call themselves for each would fail."""
    level: list[Any] = [tables]
    for _ in range(_MAX_DEPTH):
        inner = (value for one in level for value in (one.values() if isinstance(one, dict) else one))
        level = [value for value in inner if isinstance(value, dict | list)]
        if not level:
            return False
    return True


def config_from_tables(path: Path, tables: dict[str, Any], overrides: Overrides | None = None) -> ConfigFile:
    """The tables of a `modules.toml` as a configuration; messages name `path`, and relative paths start beside it."""
    reader = ConfigReader(path, overrides or {})
    config = reader.read(tables)
    keys = {f"{table}.{key}".removeprefix(".") for table, settings in (overrides or {}).items() for key in settings}
    return ConfigFile(
        path, config, tuple(reader.problems), tuple(reader.warnings), overridden=frozenset(OPTIONS) & keys
    )


def pod_tables(pod: PodFile, settings: Path | None) -> dict[str, Any]:
    """The tables of a Pod manifest and of its settings file, whose keys win in a table of both. Raises StartupError."""
    tables = read_toml(settings) if settings else {}
    if "module" in tables:
        raise StartupError(Problem(str(settings), "[[module]]: the modules are those of the Pod manifest; remove it"))
    for name, table in copy.deepcopy(pod.tables).items():
        both = isinstance(table, dict) and isinstance(tables.get(name), dict)
        tables[name] = table | tables[name] if both else table
    return tables


def _config_from_pod(pod: PodFile, path: Path, overrides: Overrides | None, settings: Path | None) -> ConfigFile:
    if not pod.containers:
        raise StartupError(*pod.problems, warnings=pod.warnings)
    tables = read_toml(settings) if settings else {}
    # The settings file is also read alone, so that its mistakes are reported with its own path.
    own = config_from_tables(settings or path, tables | {"module": []})
    reported = {problem.what for problem in (*own.problems, *own.warnings)}
    file = config_from_tables(path, pod_tables(pod, settings), overrides)
    return replace(
        file,
        problems=pod.problems + own.problems + tuple(one for one in file.problems if one.what not in reported),
        warnings=pod.warnings + own.warnings + tuple(one for one in file.warnings if one.what not in reported),
        containers=pod.containers,
        settings=settings,
    )


def cache_directory(file: ConfigFile) -> Path:
    """The directory for compiled modules and for modules from registries."""
    directory = file.config.cache.directory
    if directory:
        return file.base.absolute() / directory
    try:
        return user_cache_path("wagi-gateway", appauthor=False) / "modules"
    except RuntimeError:  # neither HOME nor passwd(5) has a home directory, as for a container's arbitrary user
        return Path(tempfile.gettempdir(), f"wagi-gateway-{os.geteuid()}", "modules")


def log_directory(file: ConfigFile) -> Path | None:
    """The directory for guests' standard error; None where it goes to the log."""
    directory = file.config.log.directory
    return file.base.absolute() / directory if directory else None


def log_files(file: ConfigFile) -> dict[str, Path]:
    """The file for guests' standard error of each module that has one, by the module's route."""
    return {module.route: file.base.absolute() / module.log_file for module in file.config.module if module.log_file}
