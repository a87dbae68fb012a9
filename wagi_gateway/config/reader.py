"""The tables of a `modules.toml` as a Config: legacy keys, defaults, overrides and validation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from pydantic import Field, ValidationError

from ..errors import Problem
from .settings import (
    LEGACY_MODULE,
    LEGACY_TOP_LEVEL,
    AdminConfig,
    CacheConfig,
    CompilerConfig,
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
)
from .validation import explain, unknown_key, without
from .values import Environment

# One-key models, so that a mistake in these keys is reported under the key's name.


class EnvironmentTable(SettingsTable):
    environment: Environment = Field(default_factory=dict)


class RegistriesTable(SettingsTable):
    registries: Registries = Field(default_factory=dict)


class AuthFileKey(SettingsTable):
    auth_file: str | None = Field(None, min_length=1)


M = TypeVar("M", bound=SettingsTable)

_USERINFO = re.compile(r'[^\s"/=]+@')

Overrides = Mapping[str, Mapping[str, object]]
"""Settings that win over the file's: table → key → value; the table of top-level keys is `""`."""


class ConfigReader:
    """Validates the tables of one file; mistakes and doubts are collected in `problems` and `warnings`."""

    def __init__(self, path: Path, overrides: Overrides) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._where = str(path)
        self._overrides = overrides
        given = {name: str(value) for name, value in overrides.get("environment", {}).items()}
        self._environment_override = self._environment(given, "command line")

    def read(self, tables: dict[str, Any]) -> Config:
        """The valid settings of `tables`, which are taken out of the mapping one by one."""
        self._drop_legacy(tables, LEGACY_TOP_LEVEL, self._where)
        modules = tables.pop("module", None)
        limits = self._table(Limits, "limits", tables)
        config = Config.model_construct(
            module=tuple(self._modules(modules, limits)),
            static=tuple(self._static(tables.pop("static", []))),
            environment=self._environment(tables.pop("environment", {}), self._where) | self._environment_override,
            server=self._table(ServerConfig, "server", tables),
            limits=limits,
            outbound=self._table(OutboundConfig, "outbound", tables),
            registries=self._registries(tables),
            auth_file=self._auth_file(tables),
            compiler=self._table(CompilerConfig, "compiler", tables),
            cache=self._table(CacheConfig, "cache", tables),
            log=self._table(LogConfig, "log", tables),
            admin=self._table(AdminConfig, "admin", tables),
            tracing=self._table(TracingConfig, "tracing", tables),
        )
        for name in tables:
            self._problem(self._where, unknown_key(name, name, Config))
        return config

    def _table(self, model: type[M], name: str, tables: dict[str, Any]) -> M:
        table = tables.pop(name, {})
        override = self._validate(model, self._overrides.get(name, {}), "command line", f"{name}.")
        if override and isinstance(table, dict):
            table = table | {key: getattr(override, key) for key in override.model_fields_set}
        return self._validate(model, table, self._where, f"{name}.") or model()

    def _environment(self, table: object, where: str) -> dict[str, str]:
        valid = self._validate(EnvironmentTable, {"environment": table}, where, "")
        return valid.environment if valid else {}

    def _registries(self, tables: dict[str, Any]) -> dict[str, RegistryConfig]:
        table = {"registries": tables.pop("registries", {})}
        count = len(self.problems)
        valid = self._validate(RegistriesTable, table, self._where, "")
        # A host may have a user name and password before it, which no message shows.
        self.problems[count:] = [
            Problem(problem.where, _USERINFO.sub("…@", problem.what)) for problem in self.problems[count:]
        ]
        return valid.registries if valid else {}

    def _auth_file(self, tables: dict[str, Any]) -> str | None:
        table = {key: tables.pop(key) for key in ("auth_file",) if key in tables} | dict(self._overrides.get("", {}))
        valid = self._validate(AuthFileKey, table, self._where, "")
        return valid.auth_file if valid else None

    def _modules(self, modules: object, limits: Limits) -> Iterator[ModuleConfig]:
        if not _is_list_of_tables(modules):
            what = "has no [[module]] table" if modules is None else "module is not a list of [[module]] tables"
            self._problem(self._where, f'{what}; write [[module]] with route = "/..." and module = "file.wasm"')
            return
        defaults = limits.model_dump(exclude_unset=True)
        for number, table in enumerate(modules, start=1):
            where = self._where_of("module", number, table)
            self._drop_legacy(table, LEGACY_MODULE, where)
            own_limits = table.get("limits", {})
            if isinstance(own_limits, dict):
                table = table | {"limits": defaults | own_limits}
            module = self._validate(ModuleConfig, table, where, "", substitute={"route": f"/{number}"})
            if module:
                yield module.model_copy(update={"environment": module.environment | self._environment_override})

    def _static(self, tables: object) -> Iterator[StaticConfig]:
        if not _is_list_of_tables(tables):
            self._problem(self._where, "static is not a list of [[static]] tables")
            return
        for number, table in enumerate(tables, start=1):
            static = self._validate(StaticConfig, table, self._where_of("static", number, table), "")
            if static:
                yield static

    def _where_of(self, name: str, number: int, table: dict[str, Any]) -> str:
        route = f" ({table['route']})" if isinstance(table.get("route"), str) else ""
        return f"{self._where}: [[{name}]] {number}{route}"

    def _drop_legacy(self, table: dict[str, Any], legacy: Mapping[str, str], where: str) -> None:
        for name, advice in legacy.items():
            if table.pop(name, None) is not None:
                self.warnings.append(Problem(where, f"{name}: an old key without effect; {advice}"))

    def _validate(
        self, model: type[M], table: object, where: str, prefix: str, substitute: Mapping[str, object] | None = None
    ) -> M | None:
        """Validates `table`; reports each wrong key, drops it, and retries. None if the rest is not valid either.

        `substitute` has values for required keys that are missing or wrong.
        """
        try:
            return model.model_validate(table)
        except ValidationError as error:
            details = error.errors()
        for detail in details:
            self._problem(where, explain(detail, model, prefix, table))
        valid = without(table, [detail["loc"] for detail in details])
        for _ in range(2):
            try:
                return model.model_validate({**(substitute or {}), **valid})
            except ValidationError as error:  # an inner table lacks a required key
                valid = without(valid, [detail["loc"][:1] for detail in error.errors()])
        return None

    def _problem(self, where: str, what: str) -> None:
        self.problems.append(Problem(where, what))


def _is_list_of_tables(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(table, dict) for table in value)
