"""The status of the server as a JSON document: `/status` of the admin listener."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from ..compiler.abi import WASMTIME_VERSION
from ..version import __version__
from . import metrics
from .process import usage
from .process_registry import SUPERVISOR, ProcessEntry, ProcessRegistry, ServedModule


def status(processes: ProcessRegistry) -> dict[str, object]:
    """Versions, times, processes, modules and warnings of the server."""
    totals = processes.totals()
    unready = processes.unready()
    return {
        "version": __version__,
        "wasmtime": WASMTIME_VERSION,
        "python": platform.python_version(),
        "started": _time(processes.started),
        "uptime_seconds": round(time.time() - processes.started, 3),
        "ready": unready is None,
        **({"reason": unready} if unready else {}),
        "loaded": _time(processes.loaded),
        **({"tls_not_after": _time(processes.tls_not_after)} if processes.tls_not_after is not None else {}),
        "last_reload": _last_reload(processes),
        "requests_in_flight": totals.get(metrics.IN_FLIGHT.key(), [0])[0],
        "workers": {"desired": processes.workers, "ready": len(processes.ready())},
        "processes": [_entry(entry) for entry in processes.entries()],
        "modules": [_module(module, totals) for module in processes.served],
        "warnings": list(processes.warnings),
    }


def _last_reload(processes: ProcessRegistry) -> dict[str, object] | None:
    if processes.reloaded is None:
        return None
    problems = {"problems": list(map(str, processes.reload_problems))} if processes.reload_problems else {}
    return {"at": _time(processes.reloaded), "ok": not problems, **problems}


def _entry(entry: ProcessEntry) -> dict[str, object]:
    used = usage(entry.pid)
    return {
        "name": entry.name,
        "pid": entry.pid,
        "started": _time(entry.started),
        **(_work(entry) if entry.name != SUPERVISOR else {}),
        "resident_bytes": used.resident if used else None,
        "open_fds": used.descriptors if used else None,
    }


def _work(entry: ProcessEntry) -> dict[str, object]:
    return {
        "ready": bool(entry.number(metrics.READY)),
        "requests_in_flight": entry.number(metrics.IN_FLIGHT),
    }


def _module(module: ServedModule, totals: Mapping[str, list[int]]) -> dict[str, object]:
    def now(metric: metrics.Metric) -> int:
        return totals.get(metric.key(module.route), [0])[0]

    return {
        "route": module.route,
        "routes": module.routes,
        "source": module.source,
        "digest": f"sha256:{module.digest}",
        "in_flight": now(metrics.RUNNING),
        "queue": now(metrics.QUEUE),
        **({"logs": module.logs} if module.logs else {}),
        "limits": module.limits.model_dump(mode="json"),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
