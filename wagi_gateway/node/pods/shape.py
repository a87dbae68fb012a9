"""The form of a Pod that the node relies on everywhere: an API server has checked it, and a damaged file has not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}")
_NAME = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.]{0,252}")
"""A name of containers and volumes, which is one of directories, too."""


_LISTS: Mapping[str, Mapping[str, type]] = {
    "conditions": {"type": str, "status": str},
    "containerStatuses": {"name": str, "ready": bool, "restartCount": int},
}
"""The lists of a status, with the fields of their items."""


def is_uid(text: object) -> bool:
    """Whether a text is a uid, and so a file name."""
    return isinstance(text, str) and _UID.fullmatch(text) is not None


def shape_problem(pod: Any) -> str | None:
    """The key of a Pod whose value has not the form that it needs; None for a usable Pod."""
    metadata, spec, status = (_table(pod, key) for key in ("metadata", "spec", "status"))
    if not metadata or not is_uid(metadata.get("uid")):
        return "metadata.uid"
    for key in ("name", "namespace"):
        if not isinstance(metadata.get(key), str) or not metadata[key]:
            return f"metadata.{key}"
    for key in ("annotations", "labels"):
        values = _table(metadata, key)
        if values is None or not all(isinstance(one, str) for one in values.values()):
            return f"metadata.{key}"
    if not _is_number(metadata.get("deletionGracePeriodSeconds")):
        return "metadata.deletionGracePeriodSeconds"
    if not spec or not spec.get("containers") or not _are_named(spec["containers"]):
        return "spec.containers"
    for key in ("volumes", "ephemeralContainers"):
        if not _are_named(spec.get(key) or []):
            return f"spec.{key}"
    if not _are_tables(spec.get("readinessGates") or [], {"conditionType": str}):
        return "spec.readinessGates"
    for key in ("activeDeadlineSeconds", "terminationGracePeriodSeconds"):
        if not _is_number(spec.get(key)):
            return f"spec.{key}"
    for key, fields in _LISTS.items():
        if status is None or not _are_tables(status.get(key) or [], fields):
            return f"status.{key}"
    return None


def _table(value: Any, key: str) -> dict[str, Any] | None:
    """A table of a value, empty where there is none; None for something else."""
    found = (value.get(key) or {}) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else None


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and abs(value) < 2**63)


def _are_named(values: object) -> bool:
    return _are_tables(values, {"name": str}) and all(_NAME.fullmatch(one["name"]) for one in cast("list[Any]", values))


def _are_tables(values: object, fields: Mapping[str, type]) -> bool:
    return isinstance(values, list) and all(
        isinstance(one, dict) and all(isinstance(one.get(key), kind) for key, kind in fields.items()) for one in values
    )
