"""The target of `run`: a module with options of the command line, or a configuration."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..config.file import ConfigFile, config_from_tables, read_config, read_toml
from ..config.reader import Overrides
from ..errors import Problem, StartupError
from ..site.site import Site
from .limit_options import limit_option

CONFIG_SUFFIXES = (".toml", ".yaml", ".yml")
_FILE_OR_SCHEME = re.compile(r"(?:\.|/|(?:file|bindle|https?|oci):)", re.IGNORECASE)
_IMAGE = re.compile(r"[^/]*(?:\.|localhost)[^/]*/.*|.*[:@].*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTarget:
    """What answers the request: `what` is a configuration, a module's file or an image reference."""

    what: str
    volumes: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    entrypoint: str | None = None
    argv: str | None = None
    missing_imports: str | None = None
    route: str | None = None
    """The route of a configuration whose module answers alone."""

    @property
    def is_config(self) -> bool:
        """Whether the target is a configuration, by the suffix of its name."""
        return Path(self.what).suffix in CONFIG_SUFFIXES

    def config_file(self, overrides: Overrides, settings: Path | None = None) -> ConfigFile:
        """The configuration, or one with the module at `/...` alone. Raises StartupError."""
        if self.is_config:
            self._check_options()
            one = {"server": {**overrides.get("server", {}), "concurrency": 1}}
            return self._with_route(read_config(Path(self.what), {**overrides, **one}, settings))
        if self.route is not None:
            raise StartupError(Problem("--route", "goes with a configuration; a module answers every path"))
        module: dict[str, object] = {"route": "/...", "module": _reference(self.what)}
        module["volumes"] = dict(_volume(text) for text in self.volumes)
        module["allowed_hosts"] = list(self.allowed_hosts)
        if self.entrypoint is not None:
            module["entrypoint"] = self.entrypoint
        if self.argv is not None:
            module["argv"] = self.argv
        if self.missing_imports is not None:
            module["missing_imports"] = self.missing_imports
        tables = read_toml(settings) if settings else {}
        tables |= {"module": [module], "server": {"concurrency": 1}}
        return config_from_tables(settings or Path("command line"), tables, overrides)

    def _with_route(self, file: ConfigFile) -> ConfigFile:
        """The configuration with the module of `route` alone. Raises StartupError."""
        if self.route is None or file.problems:
            return file
        numbers = [number for number, module in enumerate(file.config.module) if module.route == self.route]
        if not numbers:
            routes = ", ".join(module.route for module in file.config.module)
            raise StartupError(Problem("--route", f'"{self.route}": no module has it; the routes: {routes}'))
        chosen = tuple(file.config.module[number] for number in numbers)
        containers = tuple(file.containers[number] for number in numbers) if file.containers else ()
        config = file.config.model_copy(update={"module": chosen, "static": ()})
        return replace(file, config=config, containers=containers)

    def load(self, overrides: Overrides, load: Callable[[ConfigFile], Site], settings: Path | None = None) -> Site:
        """Loads the site. Raises StartupError, which names options of the command line."""
        try:
            site = load(self.config_file(overrides, settings))
        except StartupError as error:
            raise StartupError(*map(self._in_options, error.problems), warnings=error.warnings) from None
        if self.is_config:
            return site
        if not any(pattern.text == "/..." for pattern, _ in site.routes):
            raise StartupError(Problem("--entrypoint", f'"{self.entrypoint or "_start"}": there is no such export'))
        return replace(site, warnings=[Problem("", warning.what) for warning in site.warnings])

    def _check_options(self) -> None:
        """Raises StartupError for options that a configuration has keys for."""
        given = {
            "--volume": self.volumes,
            "--allow-host": self.allowed_hosts,
            "--entrypoint": self.entrypoint,
            "--argv": self.argv,
            "--missing-imports": self.missing_imports,
        }
        problems = [
            Problem(option, f"goes with a module; {self.what} says so in its [[module]] tables")
            for option, value in given.items()
            if value
        ]
        if problems:
            raise StartupError(*problems)

    def _in_options(self, problem: Problem) -> Problem:
        """A problem with the option of the command line in the place of the key of modules.toml."""
        if problem.where == "command line":
            return Problem("", re.sub(r"^limits\.(\w+) = ", _limit_option, problem.what))
        if self.is_config or problem.where.startswith("--"):
            return problem
        # The file's place means nothing to a command without a file; the name of an option does.
        what = re.sub("^allowed_hosts = ", "--allow-host ", problem.what.removeprefix("module = "))
        what = re.sub(r'^volumes\."(.*?)" = "(.*?)": ', r"--volume \1=\2: ", what)
        return Problem("", what.replace("set read_only = true", "write GUEST=HOST:ro"))


def _limit_option(match: re.Match[str]) -> str:
    return f"{limit_option(match[1])} "


def _reference(what: str) -> str:
    """The module's reference: an image may leave `oci:` out, as for `pull`, if no file has that name."""
    if Path(what).exists() or Path(what).suffix in (".wasm", ".wat") or _FILE_OR_SCHEME.match(what):
        return what
    return f"oci:{what}" if _IMAGE.fullmatch(what) else what


def _volume(text: str) -> tuple[str, object]:
    guest, equals, host = text.partition("=")
    if not equals or not guest or not host:
        raise StartupError(Problem("--volume", f'"{text}": write GUEST=HOST or GUEST=HOST:ro'))
    return guest, {"path": host.removesuffix(":ro"), "read_only": host.endswith(":ro")}
