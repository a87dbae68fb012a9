"""The `check` command: everything that a start would find, as a table, as JSON or for GitHub Actions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from .terminal import AuthFile, CacheDir, ConfigPath, SettingsFile, given_config, setting_overrides

if TYPE_CHECKING:
    from ..config.positions import KeyPositions
    from ..errors import Problem
    from ..site.site import Site

Format = Literal["text", "json", "github"]
_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


class CheckResult(NamedTuple):
    """One row of the result."""

    result: str
    """`ok`, `may call`, `may read`, `may write`, `warning` or `error`."""
    where: str
    what: str
    file: str | None
    """The file that the finding is about; None for the cache and the like."""
    line: int | None
    """The line of the key, counted from 1; None where it is unknown."""


def check(
    config: ConfigPath = None,
    output: Annotated[
        Format,
        typer.Option("--format", help="text, json, or github for annotations of GitHub Actions.", show_default=False),
    ] = "text",
    settings_file: SettingsFile = None,
    cache_dir: CacheDir = None,
    auth_file: AuthFile = None,
) -> None:
    """Load, link and try everything in CONFIG, without serving it. Exits with 1 if a start would fail."""
    from ..config.file import read_config
    from ..config.positions import KeyPositions
    from ..errors import StartupError
    from ..observe import log
    from .terminal import load_site

    log.configure_for_run()
    path = config or Path("modules.toml")
    positions = KeyPositions.read(path)
    findings: list[CheckResult] = []
    problems: Sequence[Problem] = ()
    try:
        path = given_config(config)
        with closing(load_site(read_config(path, setting_overrides(cache_dir, auth_file), settings_file))) as site:
            findings += _of_site(site, str(path), positions)
            warnings: Sequence[Problem] = site.warnings
    except StartupError as error:
        problems, warnings = error.problems, error.warnings
    for result, found in (("warning", warnings), ("error", problems)):
        findings += [_of_problem(result, problem, str(path), positions) for problem in found]
    findings.sort(key=lambda finding: finding.line or 0)
    {"text": _print_text, "json": _print_json, "github": _print_github}[output](findings)
    raise typer.Exit(1 if problems else 0)


def _of_site(site: Site, path: str, positions: KeyPositions) -> Iterator[CheckResult]:
    """The findings of a site that can be served: its routes, and what its modules may use."""
    lines = {module.route: positions.line("module", number) for number, module in enumerate(site.config.module)}
    for pattern, endpoint in site.routes:
        what = f"{endpoint.source} ({endpoint.entrypoint})"
        yield CheckResult("ok", pattern.text, what, path, lines[endpoint.config.route])
    for number, (pattern, directory) in enumerate(site.static):
        yield CheckResult("ok", pattern.text, f"{directory.source} (files)", path, positions.line("static", number))
    for route, what in site.permissions():
        yield CheckResult("may call", route, what, path, lines[route])
    for result, route, what in site.shared():
        yield CheckResult(result, route, what, path, lines[route])


def _of_problem(result: str, problem: Problem, path: str, positions: KeyPositions) -> CheckResult:
    file = path if problem.where.startswith(path) else None
    return CheckResult(result, problem.where, problem.what, file, positions.line_of(problem))


def _print_text(findings: Sequence[CheckResult]) -> None:
    from .terminal import print_table

    rows = [(finding.result, _place(finding), finding.what) for finding in findings]
    print_table(("result", "where", "what"), rows, styles=_STYLES, wraps=True)


def _place(finding: CheckResult) -> str:
    """The place of a problem with its line, `modules.toml:12: [[module]] 2 (/x)`; the route of what is in order."""
    file = finding.file or ""
    if not finding.line or not finding.where.startswith(file):
        return finding.where
    return f"{file}:{finding.line}{finding.where.removeprefix(file)}"


def _print_json(findings: Sequence[CheckResult]) -> None:
    is_ok = all(finding.result != "error" for finding in findings)
    print(json.dumps({"ok": is_ok, "findings": [finding._asdict() for finding in findings]}, indent=2))


def _print_github(findings: Sequence[CheckResult]) -> None:
    """Prints workflow commands (GitHub Actions, "Setting an error message") for errors and warnings."""
    for finding in findings:
        if finding.result in ("error", "warning"):
            place = {"file": finding.file, "line": finding.line and str(finding.line)}
            properties = ",".join(f"{name}={_escape(value, ':,')}" for name, value in place.items() if value)
            where = finding.where.removeprefix(finding.file or "").removeprefix(": ")
            message = f"{where}: {finding.what}" if where else finding.what
            print(f"::{finding.result} {properties}::{_escape(message)}")


def _escape(text: str, more: str = "") -> str:
    """A text in the notation of workflow commands, without control characters of a terminal."""
    from ..observe import log

    text = "\n".join(map(log.escape, text.split("\n")))
    for character in f"%\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text
