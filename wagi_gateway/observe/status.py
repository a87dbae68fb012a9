"""The state of the server as one document, for people and scripts."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from .. import __version__
from ..compiler.abi import WASMTIME_VERSION
from . import metrics
from .process import usage
from .process_registry import SUPERVISOR, Crew, Member, Served


def status(crew: Crew) -> dict[str, object]:
    """What runs, since when, with which modules, and what is doubtful."""
    totals = crew.totals()
    unready = crew.unready()
    return {
        "version": __version__,
        "wasmtime": WASMTIME_VERSION,
        "python": platform.python_version(),
        "started": _time(crew.started),
        "uptime_seconds": round(time.time() - crew.started, 3),
        "ready": unready is None,
        **({"reason": unready} if unready else {}),
        "loaded": _time(crew.loaded),
        "last_reload": _last_reload(crew),
        "requests_in_flight": totals.get(metrics.IN_FLIGHT.key(), [0])[0],
        "workers": {"wanted": crew.workers, "ready": len(crew.ready())},
        "processes": [_member(member) for member in crew.members()],
        "modules": [_module(module, totals) for module in crew.served],
        "warnings": list(crew.warnings),
    }


def _last_reload(crew: Crew) -> dict[str, object] | None:
    if crew.reloaded is None:
        return None
    problems = {"problems": list(map(str, crew.reload_problems))} if crew.reload_problems else {}
    return {"at": _time(crew.reloaded), "ok": not problems, **problems}


def _member(member: Member) -> dict[str, object]:
    used = usage(member.pid)
    return {
        "name": member.name,
        "pid": member.pid,
        "started": _time(member.started),
        **(_work(member) if member.name != SUPERVISOR else {}),
        "resident_bytes": used.resident if used else None,
        "open_fds": used.descriptors if used else None,
    }


def _work(member: Member) -> dict[str, object]:
    return {
        "ready": bool(member.number(metrics.READY)),
        "requests_in_flight": member.number(metrics.IN_FLIGHT),
    }


def _module(module: Served, totals: Mapping[str, list[int]]) -> dict[str, object]:
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
