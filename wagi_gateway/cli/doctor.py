"""The command `doctor`: what is missing on this machine and in this folder."""

from __future__ import annotations

import textwrap
from collections import Counter

import typer

from ..doctor.finding import Finding
from ..errors import counted
from .terminal import (
    AuthFile,
    CacheDir,
    ConfigPath,
    SettingsFile,
    exit_on_problems,
    given_config,
    load_site,
    setting_overrides,
)

_WIDTH = 80
_INDENT = " " * len("warning  ")


def doctor(
    config: ConfigPath = None,
    settings_file: SettingsFile = None,
    cache_dir: CacheDir = None,
    auth_file: AuthFile = None,
) -> None:
    """Find what the modules of CONFIG need and lack.

    Examines toolchains, built modules, foreign manifests and the cache. Exits with 1 if there is an error.
    """
    from ..config.file import read_config
    from ..doctor.examination import examine
    from ..observe import log

    log.configure_for_run()
    levels: Counter[str] = Counter()
    with exit_on_problems(exit_code=1):
        file = read_config(given_config(config), setting_overrides(cache_dir, auth_file), settings_file)
        for finding in examine(file, load_site):
            levels[finding.level] += 1
            print(_text(finding))
    print(f"{counted(levels['error'], 'error')}, {counted(levels['warning'], 'warning')}")
    raise typer.Exit(1 if levels["error"] else 0)


def _text(finding: Finding) -> str:
    """The lines of a finding, none longer than 80 columns."""
    lines = _wrapped(finding.what) + _wrapped(finding.advice)
    return f"{finding.level:<{len(_INDENT)}}" + f"\n{_INDENT}".join(lines)


def _wrapped(text: str) -> list[str]:
    from ..observe import log

    return textwrap.wrap(log.escape(text), _WIDTH - len(_INDENT), break_on_hyphens=False)
