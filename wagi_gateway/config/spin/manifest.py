"""Spin's manifest `spin.toml` (versions 1 and 2) as models: the keys that have a meaning here.

Source: https://spinframework.dev, "Manifest reference" and "HTTP trigger".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _under(key: str) -> BeforeValidator:
    """Text in place of a table is the table's value for `key`."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


_ListOfText = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class SpinTable(BaseModel):
    """A table of the manifest; other keys are Spin's own."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class SpinExecutor(SpinTable):
    """`executor`."""

    type: str = "spin"
    argv: str | None = None
    entrypoint: str | None = None


class SpinSource(SpinTable):
    """`source`: a path, or a table with a URL, a registry's package or a Bindle's parcel."""

    path: str | None = None
    url: str | None = None
    digest: str | None = None


class SpinFiles(SpinTable):
    """One entry of `files`: a pattern, or the directory `source` that the guest sees as `destination`."""

    pattern: str | None = None
    source: str = ""
    destination: str = ""


class SpinBuild(SpinTable):
    """`build`: commands for a shell."""

    command: _ListOfText
    workdir: str | None = None
    watch: list[str] = Field(default_factory=list)


class SpinComponent(SpinTable):
    """`[component.NAME]`, or `[[component]]` in version 1."""

    reference: str | None = None
    """The name of a component, where a trigger has one in place of a table."""
    source: Annotated[SpinSource, _under("path")] = Field(default_factory=SpinSource)
    files: list[Annotated[SpinFiles, _under("pattern")]] = Field(default_factory=list)
    environment: dict[str, str] = Field(default_factory=dict)
    allowed_http_hosts: list[str] = Field(default_factory=list)
    allowed_outbound_hosts: list[str] = Field(default_factory=list)
    build: SpinBuild | None = None
    variables: dict[str, Any] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    """The variables in version 1."""
    exclude_files: list[str] = Field(default_factory=list)
    key_value_stores: list[str] = Field(default_factory=list)
    sqlite_databases: list[str] = Field(default_factory=list)
    ai_models: list[str] = Field(default_factory=list)
    dependencies: dict[str, Any] = Field(default_factory=dict)


class SpinTrigger(SpinTable):
    """`[[trigger.http]]`, or `[component.trigger]` in version 1."""

    route: Annotated[str | None, BeforeValidator(lambda value: None if isinstance(value, dict) else value)] = None
    """None for `{ private = true }`: no client can call the component."""
    component: Annotated[SpinComponent, _under("reference")] = Field(default_factory=SpinComponent)
    executor: Annotated[SpinExecutor, _under("type")] = Field(default_factory=SpinExecutor)


class SpinHttp(SpinTable):
    """`[application.trigger.http]`."""

    base: str = "/"


class SpinTriggers(SpinTable):
    """`[application.trigger]`."""

    http: SpinHttp = Field(default_factory=SpinHttp)


class SpinApplication(SpinTable):
    """`[application]`."""

    name: str = ""
    version: str = ""
    trigger: SpinTriggers = Field(default_factory=SpinTriggers)


class SpinVariable(SpinTable):
    """One of `[variables]`."""

    default: str | None = None


class SpinManifest(SpinTable):
    """A manifest of version 2. One of version 1 is rearranged to that form."""

    application: SpinApplication = Field(default_factory=SpinApplication)
    variables: dict[str, SpinVariable] = Field(default_factory=dict)
    trigger: dict[str, list[SpinTrigger]] = Field(default_factory=dict)
    component: dict[str, SpinComponent] = Field(default_factory=dict)


def rearranged(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a manifest of version 1 in the form of version 2. Raises ValueError."""
    components = tables.get("component", [])
    if not isinstance(components, list) or not all(isinstance(one, dict) for one in components):
        raise ValueError("component: is not a list of [[component]] tables")
    trigger = tables.get("trigger", {})
    if not isinstance(trigger, dict):
        raise ValueError('trigger: must be a table, such as { type = "http", base = "/" }')
    named = {str(one.get("id", number)): one for number, one in enumerate(components, start=1)}
    own = {name: one.get("trigger", {}) for name, one in named.items()}
    if wrong := next((name for name, one in own.items() if not isinstance(one, dict)), None):
        raise ValueError(f"component.{wrong}.trigger: must be a table")
    return {
        "application": {
            "name": tables.get("name", ""),
            "version": tables.get("version", ""),
            "trigger": {"http": {"base": trigger.get("base", "/")}},
        },
        "variables": tables.get("variables", {}),
        "trigger": {str(trigger.get("type", "http")): [{**one, "component": name} for name, one in own.items()]},
        "component": named,
    }
