"""The examination of a configuration, of its folder and of the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

from ..compiler.cache import ArtefactCache, CacheRefused
from ..config.file import ConfigFile, cache_directory
from ..errors import StartupError, counted
from ..site.site import Site
from .built_module import examine_module
from .finding import Finding
from .foreign_manifest import foreign_manifests


def examine(file: ConfigFile, load: Callable[[ConfigFile], Site]) -> Iterator[Finding]:
    """The findings in the order of the file; `load` loads the site, as `check` does. No build is executed."""
    for module in file.config.module:
        yield from examine_module(module, file.base.absolute())
    builds = [module.build for module in file.config.module if module.build]
    base = file.base.absolute()
    yield from foreign_manifests([base, *(base / build.directory for build in builds)])
    yield from _examine_cache(file)
    yield from _examine_start(file, load)


def _examine_cache(file: ConfigFile) -> Iterator[Finding]:
    directory = cache_directory(file)
    try:
        ArtefactCache(directory)
    except CacheRefused:  # a warning of the start
        return
    yield Finding("ok", f"compiled modules are kept in {directory}")


def _examine_start(file: ConfigFile, load: Callable[[ConfigFile], Site]) -> Iterator[Finding]:
    try:
        with closing(load(file)) as site:
            routes = counted(len(site.routes) + len(site.static), "route")
            yield from (Finding("warning", str(warning)) for warning in site.warnings)
            yield Finding("ok", f"{file.path} can be served: {routes}")
    except StartupError as error:
        yield from (Finding("warning", str(warning)) for warning in error.warnings)
        yield from (Finding("error", str(problem)) for problem in error.problems)
