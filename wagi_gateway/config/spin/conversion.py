"""A `spin.toml` as the tables of a `modules.toml`: its components with the WAGI executor."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pydantic import ValidationError

from ...errors import BadRequest, Problem, StartupError
from ...router import RoutePattern
from ..file import config_from_tables, read_toml
from ..foreign import is_spin_manifest
from ..validation import explain
from ..values import check_reserved
from .build import convert_build
from .files import convert_files
from .hosts import convert_hosts
from .manifest import SpinComponent, SpinManifest, SpinTrigger, rearranged
from .route import convert_route

_DEFAULT_ARGV = "${SCRIPT_NAME} ${ARGS}"
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")
_OWN_INTERFACES = ("key_value_stores", "sqlite_databases", "ai_models", "dependencies")


@dataclass(frozen=True, slots=True)
class SpinFile:
    """The content of a `spin.toml`."""

    tables: dict[str, Any]
    """The tables of the equivalent `modules.toml`."""
    about: str
    """The manifest's name and version."""
    components: tuple[str, ...]
    """The component of each `[[module]]`."""
    notes: tuple[tuple[str, ...], ...]
    """The comment lines of each `[[module]]`."""
    warnings: tuple[Problem, ...]


class _WagiComponent(NamedTuple):
    """A component with one of its triggers."""

    name: str
    component: SpinComponent
    trigger: SpinTrigger


@dataclass(slots=True)
class _ConvertedModule:
    """A `[[module]]` under construction."""

    component: str
    table: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def read_spin(path: Path) -> SpinFile:
    """Reads a manifest of version 1 or 2. Raises StartupError, for a manifest without WAGI programs, too."""
    return convert_spin(path, read_toml(path))


def convert_spin(path: Path, tables: Mapping[str, Any]) -> SpinFile:
    """Converts the tables of a manifest. Raises StartupError."""
    return _SpinConversion(path, _manifest(path, tables)).file()


def _manifest(path: Path, tables: Mapping[str, Any]) -> SpinManifest:
    """The validated manifest. Raises StartupError."""
    where = str(path)
    if not is_spin_manifest(tables):
        what = "is not a Spin manifest: it has no spin_manifest_version; name a spin.toml, or the .yaml of a Pod"
        raise StartupError(Problem(where, what))
    version = str(tables.get("spin_manifest_version", tables.get("spin_version", 2)))
    if version not in ("1", "2"):
        raise StartupError(Problem(where, f"spin_manifest_version = {version}: the versions 1 and 2 are known"))
    try:
        arranged = rearranged(tables) if version == "1" else tables
        return SpinManifest.model_validate(arranged)
    except ValidationError as error:
        whats = dict.fromkeys(explain(detail, SpinManifest, "", arranged) for detail in error.errors())
        raise StartupError(*(Problem(where, what) for what in whats)) from None
    except ValueError as error:
        raise StartupError(Problem(where, str(error))) from None


class _SpinConversion:
    """The conversion of one manifest."""

    def __init__(self, path: Path, manifest: SpinManifest) -> None:
        self._path = path
        self._manifest = manifest
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self._files: dict[str, str] = {}
        """The file name of each module that has to be downloaded, by URL."""

    def file(self) -> SpinFile:
        """The converted manifest. Raises StartupError."""
        application = self._manifest.application
        if names := ", ".join(self._manifest.variables):
            what = "a WAGI program cannot ask for Spin's variables; write their values into environment"
            self._warn("", f"variables ({names}): {what}")
        modules: dict[str, _ConvertedModule] = {}
        for part in self._parts():
            module = self._module(part)
            route = module.table["route"]
            if route in modules:
                other = modules[route].component
                self._warn(part.name, f'route = "{route}": component {other} has it; skipped, give it another one')
                continue
            modules[route] = module
            for doubt in module.doubts:
                self._warn(part.name, doubt)
        if not modules:
            what = 'has no HTTP component with executor = { type = "wagi" }; there is nothing to convert'
            raise StartupError(Problem(str(self._path), what), warnings=self._warnings)
        tables = {"module": [module.table for module in modules.values()]}
        # The rest of the mistakes is found by the reader of modules.toml.
        problems = [*self._problems, *config_from_tables(self._path, copy.deepcopy(tables)).problems]
        if problems:
            raise StartupError(*problems, warnings=self._warnings)
        return SpinFile(
            tables,
            f"{application.name} {application.version}".strip(),
            tuple(module.component for module in modules.values()),
            tuple(tuple(module.notes) for module in modules.values()),
            tuple(self._warnings),
        )

    def _parts(self) -> Iterator[_WagiComponent]:
        """The components that are WAGI programs, with a warning for each other one."""
        used = set()
        for kind, triggers in self._manifest.trigger.items():
            for number, trigger in enumerate(triggers, start=1):
                name = trigger.component.reference or f"of trigger.{kind} {number}"
                used.add(name)
                component = self._manifest.component.get(name) if trigger.component.reference else trigger.component
                if component is None:
                    self._warn(name, "the manifest has no such component; skipped")
                elif reason := _not_wagi(kind, trigger):
                    self._warn(name, f"{reason}; skipped")
                else:
                    yield _WagiComponent(name, component, trigger)
        for name in [one for one in self._manifest.component if one not in used]:
            self._warn(name, "no trigger names it; skipped")

    def _module(self, part: _WagiComponent) -> _ConvertedModule:
        name, component, trigger = part
        route, comment = convert_route(trigger.route or "", self._manifest.application.trigger.http.base)
        module = _ConvertedModule(name, {"route": route}, [comment] if comment else [])
        try:
            RoutePattern(route)
        except (ValueError, BadRequest) as error:
            self._problems.append(Problem(f"{self._path}: component {name}", f'route = "{trigger.route}": {error}'))
        self._add_source(module, part)
        if trigger.executor.entrypoint:
            module.table["entrypoint"] = trigger.executor.entrypoint
        if trigger.executor.argv and trigger.executor.argv != _DEFAULT_ARGV:
            module.table["argv"] = trigger.executor.argv
        self._add_permissions(module, component)
        _add_environment(module, component)
        if component.build and "".join(component.build.command).strip():
            module.table["build"] = convert_build(component.build)
        if names := ", ".join({**component.variables, **component.config}):
            module.doubts.append(f"variables ({names}): a WAGI program cannot ask for them; use environment")
        if component.exclude_files:
            module.doubts.append("exclude_files: has no effect; a volume has all files of its directory")
        interfaces = [key for key in _OWN_INTERFACES if getattr(component, key)]
        module.doubts += [f"{key}: Spin's own interface, which a WAGI program cannot call" for key in interfaces]
        return module

    def _add_source(self, module: _ConvertedModule, part: _WagiComponent) -> None:
        source = part.component.source
        if source.path:
            module.table["module"] = source.path
            return
        if not source.url:
            what = "its source is neither a file nor a URL; fetch the module"
            module.table["module"] = file = f"{_file_name(part.name)}.wasm"
            module.notes.append(f'Fetch the module and keep it as "{file}".')
            module.doubts.append(f"source: {what} and keep it as {file}")
            return
        file = module.table["module"] = self._download(source.url, part.name)
        digest = _SHA256.fullmatch(source.digest or "")
        module.notes += [
            f"Download the module, verify it, and keep it as {file}:",
            f"  curl -fLo {file} {shlex.quote(source.url)}",
            f"  echo '{digest[1].lower()}  {file}' | sha256sum -c" if digest else "  (there is no SHA-256 of it)",
        ]
        what = f"download the module, verify it, and keep it as {file}"
        module.doubts.append(f"source: {what}; the comment in the file has the commands")

    def _download(self, url: str, component: str) -> str:
        """The name of the file for a URL: its last segment, unless another URL has that."""
        if url not in self._files:
            last = _file_name(PurePosixPath(url.partition("?")[0]).stem)
            file = f"{last}.wasm"
            self._files[url] = f"{_file_name(component)}-{file}" if file in self._files.values() else file
        return self._files[url]

    def _add_permissions(self, module: _ConvertedModule, component: SpinComponent) -> None:
        defaults = {name: variable.default for name, variable in self._manifest.variables.items()}
        hosts = convert_hosts([*component.allowed_outbound_hosts, *component.allowed_http_hosts], defaults)
        volumes = convert_files(component.files, self._path.parent)
        if volumes.volumes:
            module.table["volumes"] = volumes.volumes
        if hosts.entries:
            module.table["allowed_hosts"] = hosts.entries
        module.doubts += [f"allowed_hosts: {doubt}" for doubt in hosts.doubts] + volumes.doubts

    def _warn(self, component: str, what: str) -> None:
        where = f"{self._path}: component {component}" if component else str(self._path)
        if (problem := Problem(where, what)) not in self._warnings:
            self._warnings.append(problem)


def _not_wagi(kind: str, trigger: SpinTrigger) -> str | None:
    """Why a component cannot be served; None for a WAGI program."""
    if kind != "http":
        return f"its trigger is {kind}, not http"
    if trigger.executor.type != "wagi":
        return f'its executor is "{trigger.executor.type}", Spin\'s own, not "wagi" (see wagi-gateway bridge)'
    if trigger.route is None:
        return "its route is private, so that no client can call it"
    return None


def _add_environment(module: _ConvertedModule, component: SpinComponent) -> None:
    environment = {}
    for name, value in component.environment.items():
        try:
            environment[check_reserved(name)] = value
        except ValueError:
            module.doubts.append(f"environment.{name}: is left out, because the request sets this variable")
            continue
        if "{{" in value:
            module.doubts.append(f"environment.{name}: holds a variable of Spin; write its value")
    if environment:
        module.table["environment"] = environment


def _file_name(text: str) -> str:
    """A text as the name of a file, `module` if nothing is left."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "module"
