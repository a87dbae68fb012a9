"""The downward API: fields and resources of a Pod as the text of a variable or a file.

Source: https://kubernetes.io/docs/concepts/workloads/pods/downward-api.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...config.pod.quantity import parse_quantity
from ..api import Object

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")
_RESOURCES = ("cpu", "memory", "ephemeral-storage")


class UnknownField(ValueError):
    """The Pod has no such field, or the downward API does not provide it."""


@dataclass(frozen=True, slots=True)
class DownwardFields:
    """The fields of one Pod on this node."""

    pod: Object
    pod_ip: str
    host_ip: str
    allocatable: Mapping[str, str] = field(default_factory=dict)
    """The node's allocatable resources, the values of limits that a container does not set."""

    def field(self, path: str) -> str:
        """The text of a `fieldRef`. Raises UnknownField."""
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        values = {
            "metadata.name": metadata.get("name"),
            "metadata.namespace": metadata.get("namespace"),
            "metadata.uid": metadata.get("uid"),
            "spec.nodeName": spec.get("nodeName"),
            "spec.serviceAccountName": spec.get("serviceAccountName"),
            "status.podIP": self.pod_ip,
            "status.podIPs": self.pod_ip,
            "status.hostIP": self.host_ip,
            "status.hostIPs": self.host_ip,
        }
        if path in values:
            return values[path] or ""
        if match := _SUBSCRIPT.fullmatch(path):
            return str((metadata.get(match[1]) or {}).get(match[2], ""))
        raise UnknownField(f"{path[:100]!r} is not a field that a Pod on this node has")

    def file(self, path: str) -> str:
        """The text of a `fieldRef` in a volume, where all labels or annotations are a field too. Raises
        UnknownField."""
        if path in ("metadata.labels", "metadata.annotations"):
            values: Mapping[str, str] = self.pod["metadata"].get(path.partition(".")[2]) or {}
            return "\n".join(f"{key}={json.dumps(values[key], ensure_ascii=False)}" for key in sorted(values))
        return self.field(path)

    def resource(self, container: str, reference: Mapping[str, str]) -> str:
        """The number of a `resourceFieldRef`, in units of its divisor, rounded up. Raises UnknownField."""
        name = str(reference.get("containerName") or container)
        section, _, resource = str(reference.get("resource", "")).partition(".")
        containers = {one["name"]: one for one in self.pod["spec"]["containers"]}
        if name not in containers or section not in ("limits", "requests") or resource not in _RESOURCES:
            raise UnknownField(f"{name}: {section}.{resource} is not a resource of a container of this Pod")
        resources = containers[name].get("resources") or {}
        value = (resources.get(section) or {}).get(resource)
        if value is None:
            value = self.allocatable.get(resource, "0") if section == "limits" else "0"
        divisor = str(reference.get("divisor") or "0")
        try:
            quotient = parse_quantity(str(value)) / (parse_quantity(divisor) or 1)
        except ValueError as error:
            raise UnknownField(f"{section}.{resource}: {error}") from None
        return str(math.ceil(quotient))
