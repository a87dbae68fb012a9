"""The list of a site's routes, each with what its module may use."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import ByteSize

from ..config.settings import ModuleConfig
from ..config.values import as_written
from ..errors import redact_value
from ..observe.log_record import escape
from ..site.site import Endpoint, Site

_LABEL = 18
"""Columns before the text of a line."""
_MIN_TEXT = 20


def print_routes(site: Site) -> None:
    """Prints each route and below it its module, limits, volumes, the names of its variables, and `allowed_hosts`.

    Lines are wrapped between words at the width of the terminal, which is 80 columns for a file or pipe. The value of a
    variable may be a secret, and is not printed.
    """
    width = max(shutil.get_terminal_size().columns, _LABEL + _MIN_TEXT)
    for pattern, endpoint in site.routes:
        print(escape(pattern.text))
        for label, text in _lines(site, pattern.text, endpoint):
            _print(label, text, width)
    for pattern, directory in site.static:
        print(escape(pattern.text))
        _print("files", directory.source, width)


def _lines(site: Site, route: str, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    config, limits = endpoint.config, endpoint.limits
    yield "module", f"{endpoint.source} ({endpoint.entrypoint})"
    yield (
        "limits",
        f"time {as_written(limits.time, float)}, memory {as_written(limits.memory, ByteSize)}, "
        f"concurrency {limits.concurrency}",
    )
    if config.document_root:
        script = config.document_root.front_controller
        what = f"{config.document_root.path} ({', '.join(config.document_root.scripts) or 'no scripts'}"
        yield "files", f"{what}{f', else {script}' if script else ''})"
    yield "volumes", ", ".join(_volumes(config)) or "none"
    yield "environment", ", ".join(name.decode() for name in endpoint.operator) or "none"
    yield "allowed hosts", ", ".join(map(redact_value, config.allowed_hosts or ())) or "none"
    if log := site.log_of(route):
        yield "standard error", str(log)


def _volumes(config: ModuleConfig) -> Iterator[str]:
    for guest, volume in config.volumes.items():
        host = volume.path or f"temporary {volume.temporary}"
        yield f"{guest} = {host}{' (read-only)' if volume.read_only else ''}"


def _print(label: str, text: str, width: int) -> None:
    """Prints a line; no word is broken, since a path or URL may be copied."""
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    indent = " " * _LABEL
    print(
        textwrap.fill(
            escape(text), width, initial_indent=f"  {label}".ljust(_LABEL), subsequent_indent=indent, **options
        )
    )
