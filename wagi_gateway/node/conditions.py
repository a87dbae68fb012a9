"""The conditions of a Node's status, with the reasons of a kubelet."""

from __future__ import annotations

from collections.abc import Iterable

from .api import Object
from .capacity import Pressure


def conditions(pressure: Pressure, not_ready: str | None, old: Iterable[Object], now: str) -> list[Object]:
    """The conditions at the time `now`; `not_ready` is why the node is not ready, None if it is.

    The time of the transition is kept from the condition of `old` whose status is the same.
    """
    before = {one["type"]: one for one in old}
    rows = (
        ("MemoryPressure", pressure.memory, "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory"),
        ("DiskPressure", pressure.disk, "KubeletHasDiskPressure", "KubeletHasNoDiskPressure"),
        ("PIDPressure", pressure.pids, "KubeletHasInsufficientPID", "KubeletHasSufficientPID"),
    )
    found = [_condition(name, status, yes if status else no, "") for name, status, yes, no in rows]
    found += [
        _condition("NetworkUnavailable", False, "HostNetwork", "modules are served on the addresses of the node"),
        _condition("Ready", False, "KubeletNotReady", not_ready)
        if not_ready
        else _condition("Ready", True, "KubeletReady", "wagi-gateway serves Pods"),
    ]
    for one in found:
        previous = before.get(one["type"], {})
        is_same = previous.get("status") == one["status"] and "lastTransitionTime" in previous
        one["lastTransitionTime"] = previous["lastTransitionTime"] if is_same else now
        one["lastHeartbeatTime"] = now
    return found


def differ(conditions: Iterable[Object], stored: Iterable[Object]) -> bool:
    """Whether a condition is stored otherwise; times and conditions of others do not matter."""
    by_type = {one["type"]: one for one in stored}
    return any(
        by_type.get(one["type"], {}).get(key) != one[key]
        for one in conditions
        for key in ("status", "reason", "message")
    )


def _condition(type: str, status: bool, reason: str, message: str) -> Object:  # noqa: A002
    return {"type": type, "status": str(status), "reason": reason, "message": message}
