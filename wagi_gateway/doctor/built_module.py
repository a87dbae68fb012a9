"""A built module beside what it is built from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..build.runner import Build
from ..build.watch import WatchPatterns
from ..compiler.debug_info import debug_info
from ..config.settings import BuildConfig, ModuleConfig
from ..sources.file import resolve
from ..sources.modules import is_image
from .finding import Finding

_PACKAGES = "node_modules"
"""The directory of what npm has installed: its modules are built by others."""


def examine_module(module: ModuleConfig, base: Path) -> Iterator[Finding]:
    """The findings about a `[[module]]`: its tools, its age and its debug information."""
    if is_image(module.module):
        return
    try:
        path = resolve(module.module, base).path
    except ValueError:  # `check` says what is wrong
        return
    if module.build:
        yield from _tool(module, module.build, base)
        yield from _age(module, module.build, path, base)
    yield from _debug_info(module, path)


def _tool(module: ModuleConfig, build: BuildConfig, base: Path) -> Iterator[Finding]:
    directory = base / build.directory
    if not directory.is_dir():
        yield Finding("error", f"{module.route}: build.directory: there is no directory {directory}")
    elif missing := Build(build, base).missing_tool():
        yield Finding("error", f"{module.route}: {missing.what}", missing.install)
    else:
        yield Finding("ok", f"{module.route}: is built by {build.command[0] if build.command else 'a snapshot'}")


def _age(module: ModuleConfig, build: BuildConfig, path: Path, base: Path) -> Iterator[Finding]:
    directory = base / build.directory
    advice = f"wagi-gateway build {module.route}"
    files = [file for file in WatchPatterns(build.watch).files(directory) if file != path]
    if build.watch and not files:
        yield Finding("warning", f"{module.route}: build.watch matches no file in {directory}")
    built = _modified(path)
    if built is None:
        yield Finding("warning", f"{module.route}: {path.name} is not built yet", advice)
    elif files and (_modified(newest := max(files, key=_age_of)) or 0) > built:
        what = f"{module.route}: {path.name} is older than {newest.relative_to(directory)}"
        yield Finding("warning", what, advice)


def _age_of(path: Path) -> float:
    return _modified(path) or 0


def _modified(path: Path) -> float | None:
    """The time of a file's last change; None if there is no such file."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _debug_info(module: ModuleConfig, path: Path) -> Iterator[Finding]:
    try:
        data = path.read_bytes() if path.is_file() else b""
    except OSError:
        return
    found = debug_info(data)
    if not found:
        return
    if not found.has_names:
        is_own = module.build is not None and _PACKAGES not in path.parts
        what = f"{module.route}: {path.name} is stripped: the backtrace of a trap has no names of functions"
        advice = "build without -s or strip, and with -g for source lines"
        yield Finding("warning" if is_own else "note", what, advice)
    else:
        lines = "source lines" if found.has_lines else "no source lines"
        yield Finding("ok", f"{module.route}: {path.name} has names of functions, and {lines}")
