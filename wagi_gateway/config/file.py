"""Reads a `modules.toml`: what is valid of it becomes a Config, what is wrong is said in the words of the file."""

from __future__ import annotations

import copy
import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from ..errors import Problem, StartupError
from .settings import (
    LEGACY_MODULE,
    LEGACY_TOP_LEVEL,
    AdminConfig,
    CacheConfig,
    Config,
    Limits,
    LogConfig,
    ModuleConfig,
    OutboundConfig,
    Registries,
    RegistryConfig,
    ServerConfig,
    SettingsTable,
    StaticConfig,
    TracingConfig,
    nested_models,
)
from .values import RESERVED, Environment, as_written

if TYPE_CHECKING:  # what reads YAML is imported where there is some
    from .pod.manifest import PodFile

from typing import TYPE_CHECKING

from platformdirs import user_cache_path

if TYPE_CHECKING:
    pass


class EnvironmentTable(SettingsTable):
    environment: Environment = Field(default_factory=dict)


class RegistriesTable(SettingsTable):
    registries: Registries = Field(default_factory=dict)


class AuthFileKey(SettingsTable):
    auth_file: str | None = Field(None, min_length=1)


M = TypeVar("M", bound=SettingsTable)

_USERINFO = re.compile(r'[^\s"/=]+@')

Overrides = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration as it was read: what is valid of it, and what is wrong or doubtful."""

    path: Path
    config: Config
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    containers: tuple[str, ...] = ()
    """The container each `[[module]]` stands for, in a Pod manifest."""
    settings: Path | None = None
    """The file with the tables a Pod manifest has no place for."""

    @property
    def base(self) -> Path:
        """The directory that relative paths start from; those of a Pod manifest are absolute."""
        return (self.settings or self.path).parent

    def where(self, number: int) -> str:
        """What messages call a `[[module]]`, counted from 0."""
        if self.containers:
            return f"{self.path}: container {self.containers[number]}"
        return f"{self.path}: [[module]] {number + 1} ({self.config.module[number].route})"


def read_config(path: Path, overrides: Overrides | None = None, settings: Path | None = None) -> ConfigFile:
    """Reads a `modules.toml` or a Pod manifest; values of `overrides` (table → key → value) win over the file.

    `settings` names a TOML file with the tables a Pod manifest has no place for.

    A mistake does not end the reading: what is valid is kept, so that start-up can find the rest. Raises StartupError
    when there is nothing to read.
    """
    if path.suffix in (".yaml", ".yml"):
        from .pod.manifest import read_pod

        return _config_from_pod(read_pod(path), path, overrides, settings)
    if settings:
        raise StartupError(Problem("--settings", f"goes with a Pod manifest; {path} has its own tables"))
    return config_from_tables(path, read_toml(path), overrides)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises StartupError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise StartupError(Problem(str(path), f"cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError:
        raise StartupError(Problem(str(path), "is not UTF-8 text; a modules.toml is wanted here")) from None
    except tomllib.TOMLDecodeError as error:
        raise StartupError(Problem(str(path), f"is not valid TOML: {error}")) from None


def config_from_tables(path: Path, tables: dict[str, Any], overrides: Overrides | None = None) -> ConfigFile:
    """The tables of a `modules.toml` as a configuration; `path` names it in messages and is where paths start."""
    return ConfigReader(path, overrides or {}).read(tables)


def pod_tables(pod: PodFile, settings: Path | None) -> dict[str, Any]:
    """The tables of a Pod manifest, and those of the file beside it. Raises StartupError."""
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
    # Read by itself first, so that its mistakes are said of it.
    own = config_from_tables(settings or path, tables | {"module": []})
    said = {problem.what for problem in (*own.problems, *own.warnings)}
    file = config_from_tables(path, pod_tables(pod, settings), overrides)
    return replace(
        file,
        problems=pod.problems + own.problems + tuple(one for one in file.problems if one.what not in said),
        warnings=pod.warnings + own.warnings + tuple(one for one in file.warnings if one.what not in said),
        containers=pod.containers,
        settings=settings,
    )


class ConfigReader:
    def __init__(self, path: Path, overrides: Overrides) -> None:
        self.path = path
        self.overrides = overrides
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def read(self, tables: dict[str, Any]) -> ConfigFile:
        self._drop_legacy(tables, LEGACY_TOP_LEVEL, str(self.path))
        modules = tables.pop("module", None)
        limits = self._table(Limits, "limits", tables)
        config = Config.model_construct(
            module=tuple(self._modules(modules, limits)),
            static=tuple(self._static(tables.pop("static", []))),
            environment=self._environment(tables.pop("environment", {})),
            server=self._table(ServerConfig, "server", tables),
            limits=limits,
            outbound=self._table(OutboundConfig, "outbound", tables),
            registries=self._registries(tables),
            auth_file=self._auth_file(tables),
            cache=self._table(CacheConfig, "cache", tables),
            log=self._table(LogConfig, "log", tables),
            admin=self._table(AdminConfig, "admin", tables),
            tracing=self._table(TracingConfig, "tracing", tables),
        )
        for name in tables:
            self._problem(str(self.path), f"{name}: unknown key{_nearest(name, Config)}")
        return ConfigFile(self.path, config, tuple(self.problems), tuple(self.warnings))

    def _table(self, model: type[M], name: str, tables: dict[str, Any]) -> M:
        table = tables.pop(name, {})
        override = self._validate(model, self.overrides.get(name, {}), "command line", f"{name}.")
        if override and isinstance(table, dict):
            table = table | {key: getattr(override, key) for key in override.model_fields_set}
        return self._validate(model, table, str(self.path), f"{name}.") or model()

    def _environment(self, table: object) -> dict[str, str]:
        valid = self._validate(EnvironmentTable, {"environment": table}, str(self.path), "")
        return (valid.environment if valid else {}) | self._given_environment()

    def _registries(self, tables: dict[str, Any]) -> dict[str, RegistryConfig]:
        table = {"registries": tables.pop("registries", {})}
        before = len(self.problems)
        valid = self._validate(RegistriesTable, table, str(self.path), "")
        # Somebody may have put a password before a host.
        self.problems[before:] = [
            Problem(problem.where, _USERINFO.sub("…@", problem.what)) for problem in self.problems[before:]
        ]
        return valid.registries if valid else {}

    def _auth_file(self, tables: dict[str, Any]) -> str | None:
        table = {key: tables.pop(key) for key in ("auth_file",) if key in tables} | dict(self.overrides.get("", {}))
        valid = self._validate(AuthFileKey, table, str(self.path), "")
        return valid.auth_file if valid else None

    def _given_environment(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.overrides.get("environment", {}).items()}

    def _modules(self, modules: object, limits: Limits) -> Iterator[ModuleConfig]:
        if not isinstance(modules, list) or not all(isinstance(table, dict) for table in modules):
            what = "has no [[module]] table" if modules is None else "module is not a list of [[module]] tables"
            self._problem(str(self.path), f'{what}; write [[module]] with route = "/..." and module = "file.wasm"')
            return
        defaults = limits.model_dump(exclude_unset=True)
        for number, table in enumerate(modules, start=1):
            route = f" ({table['route']})" if isinstance(table.get("route"), str) else ""
            where = f"{self.path}: [[module]] {number}{route}"
            self._drop_legacy(table, LEGACY_MODULE, where)
            own_limits = table.get("limits", {})
            if isinstance(own_limits, dict):
                table = table | {"limits": defaults | own_limits}
            module = self._validate(ModuleConfig, table, where, "", substitute={"route": f"/{number}"})
            if module:
                environment = module.environment | self._given_environment()
                yield module.model_copy(update={"environment": environment})

    def _static(self, tables: object) -> Iterator[StaticConfig]:
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._problem(str(self.path), "static is not a list of [[static]] tables")
            return
        for number, table in enumerate(tables, start=1):
            route = f" ({table['route']})" if isinstance(table.get("route"), str) else ""
            static = self._validate(StaticConfig, table, f"{self.path}: [[static]] {number}{route}", "")
            if static:
                yield static

    def _drop_legacy(self, table: dict[str, Any], legacy: Mapping[str, str], where: str) -> None:
        for name, advice in legacy.items():
            if table.pop(name, None) is not None:
                self.warnings.append(Problem(where, f"{name}: an old key without effect; {advice}"))

    def _validate(
        self, model: type[M], table: object, where: str, prefix: str, substitute: Mapping[str, object] | None = None
    ) -> M | None:
        """`table` as a model; what is wrong is noted and left out, so that start-up can check the rest.

        `substitute` stands in for keys that are needed and not there.
        """
        try:
            return model.model_validate(table)
        except ValidationError as error:
            details = error.errors()
        for detail in details:
            self._problem(where, _explain(detail, model, prefix, table))
        right = _without(table, [detail["loc"] for detail in details])
        try:
            return model.model_validate({**(substitute or {}), **right})
        except ValidationError:
            return None

    def _problem(self, where: str, what: str) -> None:
        self.problems.append(Problem(where, what))


_WORDS = {
    "byte_size": 'not a size; write for example "16MiB"',
    "byte_size_unit": 'not a size; write for example "16MiB"',
    "float_type": 'not a duration; write for example "30s"',
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "tuple_type": "must be a list in brackets",
    "string_too_short": "must not be empty",
}


def _without(table: object, wrong: Iterable[tuple[int | str, ...]]) -> dict[str, Any]:
    """The table without what is wrong: a key of a table inside it, where it is that one alone."""
    right = (
        {key: dict(value) if isinstance(value, dict) else value for key, value in table.items()}
        if isinstance(table, dict)
        else {}
    )
    for outer, *inner in (loc for loc in wrong if loc):
        if inner and isinstance(right.get(str(outer)), dict):
            right[str(outer)].pop(inner[0], None)
        else:
            right.pop(str(outer), None)
    return right


def _explain(detail: ErrorDetails, model: type[BaseModel], prefix: str, table: object) -> str:
    """One pydantic error in the words of the file: key, value, what is wrong, what to write."""
    loc = [part for part in detail["loc"] if part != "[key]"]
    # An item of a list is known by its value.
    key = (prefix + ".".join(part for part in loc if isinstance(part, str))).rstrip(".")
    kind, value = detail["type"], _written(table, detail)
    if kind == "extra_forbidden":
        return f"{key}: unknown key{_nearest(str(loc[-1]), _model_at(model, loc[:-1]))}"
    if kind == "missing":
        return f"{key}: missing; it has no default"
    what = _WORDS.get(kind) or detail["msg"].removeprefix("Value error, ")
    for bound, words in (("le", "at most"), ("ge", "at least"), ("gt", "more than")):
        if (limit := detail.get("ctx", {}).get(bound)) is not None:
            what = f"must be {words} {as_written(limit, _annotation_at(model, loc))}"
    what = what[:1].lower() + what[1:]
    if kind == RESERVED or value is None or isinstance(value, (dict, list)) or _is_secret(_annotation_at(model, loc)):
        return f"{key}: {what}"
    return f"{key} = {_toml(value)}: {what}"


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_is_secret, get_args(annotation)))


def _written(table: object, detail: ErrorDetails) -> object:
    """The value as it stands in the file: a bound is checked on what was made of it."""
    for part in detail["loc"]:
        if not isinstance(table, dict) or part not in table:
            return detail["input"]
        table = table[part]
    return table


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _nearest(name: str, model: type[BaseModel] | None) -> str:
    names = list(model.model_fields) if model else []
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; valid keys are {', '.join(names)}" if names else ""


def _annotation_at(model: type[BaseModel], loc: Sequence[int | str]) -> object:
    """The type of the field that the key path `loc` leads to."""
    parent = _model_at(model, loc[:-1])
    field = parent.model_fields.get(str(loc[-1])) if parent and loc else None
    return field.annotation if field else None


def _model_at(model: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel] | None:
    """The model that the key path `loc` leads to."""
    found: type[BaseModel] | None = model
    for part in loc:
        field = found.model_fields.get(str(part)) if found else None
        if field is not None:
            found = next(iter(nested_models(field.annotation)), None)
    return found


def cache_directory(file: ConfigFile) -> Path:
    """Where compiled modules are kept, and modules from registries."""
    directory = file.config.cache.directory
    if directory:
        return file.base.absolute() / directory
    return user_cache_path("wagi-gateway", appauthor=False) / "modules"


def log_directory(file: ConfigFile) -> Path | None:
    """Where guests' standard error goes, if it goes to files."""
    directory = file.config.log.directory
    return file.base.absolute() / directory if directory else None
