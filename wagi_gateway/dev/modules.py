"""The modules of a site as the inspector shows them: interface, settings, what was used, and the last build."""

from __future__ import annotations

import statistics
from functools import lru_cache
from pathlib import Path

from ..compiler.debug_info import debug_info
from ..compiler.interface import read_interface
from ..errors import StartupError, redact_value
from ..site.site import Endpoint, Site
from ..sources.file import resolve
from ..sources.modules import is_image
from .builds import BuildResult, Builds
from .history import History
from .recording import Recording

_MAX_ITEMS = 500
"""Imports, exports and routes that are shown."""
_MAX_FILE = 64 * 1024 * 1024

Document = dict[str, object]

_UNKNOWN: Document = {"imports": [], "exports": [], "size": None, "has_names": None, "has_lines": None}


class Modules:
    """Describes the modules of a site."""

    def __init__(self, base: Path, builds: Builds) -> None:
        self._base = base
        self._builds = builds

    def documents(self, site: Site, history: History) -> list[Document]:
        """A document for each `[[module]]`, in the file's order."""
        recordings = list(history)
        found: dict[int, list[tuple[str, Endpoint]]] = {}
        for pattern, endpoint in site.routes:
            found.setdefault(endpoint.number, []).append((pattern.text, endpoint))
        return [self._document(routes, recordings) for _, routes in sorted(found.items())]

    def _document(self, routes: list[tuple[str, Endpoint]], recordings: list[Recording]) -> Document:
        endpoint = routes[0][1]
        config, limits = endpoint.config, endpoint.limits
        own = [one for one in recordings if one.config and one.config.route == config.route and one.outcome]
        build = self._builds.results.get(config.route)
        return {
            "route": config.route,
            "routes": [
                {"route": text, "entrypoint": one.entrypoint, "source": one.source} for text, one in routes[:_MAX_ITEMS]
            ],
            "source": endpoint.source,
            "digest": endpoint.module.digest,
            **self._interface(config.module, endpoint.module.digest),
            "volumes": [{"guest": guest, "read_only": volume.read_only} for guest, volume in config.volumes.items()],
            "allowed_hosts": [redact_value(entry) for entry in config.allowed_hosts or ()],
            "uses": [
                _use("time", "s", limits.time, [one.outcome.seconds for one in own if one.outcome]),
                _use("memory", "B", limits.memory, [one.outcome.memory for one in own if one.outcome]),
                _use("stdout", "B", limits.stdout, [one.stdout.size for one in own]),
                _use("stderr", "B", limits.stderr, [one.stderr.size for one in own]),
                _use("body", "B", limits.body, [one.body.size for one in own]),
            ],
            "count": len(own),
            "build": _build(build) if build else None,
        }

    def _interface(self, reference: str, digest: str) -> Document:
        if is_image(reference):
            return _UNKNOWN
        try:
            path = resolve(reference, self._base).path
            status = path.stat()
        except (OSError, ValueError):
            return _UNKNOWN
        return _read(path, status.st_mtime_ns, status.st_size, digest)


@lru_cache(maxsize=64)
def _read(path: Path, _changed: int, size: int, _digest: str) -> Document:
    document: Document = {**_UNKNOWN, "size": size}
    try:
        data = path.read_bytes() if size <= _MAX_FILE else b""
        interface = read_interface(path.name, data)
    except (OSError, StartupError):
        return document
    document["imports"], document["exports"] = interface.imports[:_MAX_ITEMS], interface.exports[:_MAX_ITEMS]
    if found := debug_info(data):
        document |= found._asdict()
    return document


def _use(name: str, unit: str, limit: float, values: list[float] | list[int]) -> Document:
    """What was used of a limit: median and maximum."""
    return {
        "name": name,
        "unit": unit,
        "limit": limit,
        "median": statistics.median(values) if values else None,
        "max": max(values, default=None),
    }


def _build(result: BuildResult) -> Document:
    return {
        "command": result.command,
        "began": result.began,
        "seconds": result.seconds,
        "code": result.code,
        "output": result.output.decode("utf-8", "replace"),
    }
