"""The Pod of a Kubernetes object: the object itself, or the Pod template of a Deployment, Job and the like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .document import Value
from .mapping import ManifestMapping, Report, quote

ANNOTATIONS = "alpha.wagi.krustlet.dev/"

_OF_APPS = ("apps", "extensions")
_TEMPLATES = {
    "Deployment": (_OF_APPS, "spec.template"),
    "ReplicaSet": (_OF_APPS, "spec.template"),
    "StatefulSet": (_OF_APPS, "spec.template"),
    "DaemonSet": (_OF_APPS, "spec.template"),
    "Job": (("batch",), "spec.template"),
    "CronJob": (("batch",), "spec.jobTemplate.spec.template"),
    "ReplicationController": (("",), "spec.template"),
    "PodTemplate": (("",), "template"),
}
"""The API groups of each kind that holds a Pod template, and the path of the template."""


def objects(values: Iterable[Value]) -> Iterator[Value]:
    """The objects of a file: its documents, with each List, PodList and the like replaced by the items."""
    for value in values:
        kind = value.get("kind") if isinstance(value, dict) else None
        if isinstance(value, dict) and isinstance(kind, str) and kind.endswith("List") and "items" in value:
            items = value["items"]
            listed = items if isinstance(items, list) else []
            # The items of a typed list have neither kind nor apiVersion (Kubernetes API conventions, "Lists").
            own = {"kind": kind.removesuffix("List"), "apiVersion": value.get("apiVersion")} if kind != "List" else {}
            yield from objects([own | item if isinstance(item, dict) else item for item in listed])
        elif value is not None:
            yield value


def find_pod(value: Value, where: str, report: Report) -> ManifestMapping | None:
    """The Pod of an object, or the Pod template with WAGI's annotations; None for another object."""
    if not isinstance(value, dict):
        return None
    if value.get("kind") == "Pod":
        return ManifestMapping(value, where, "", report)
    found = _template(value)
    if found is None or not _has_annotations(found):
        return None
    return ManifestMapping(found, where, f"{_TEMPLATES[str(value['kind'])][1]}.", report)


def check_workload(value: Value, where: str, report: Report) -> None:
    """Warns of what the gateway does otherwise than the controller of a workload would."""
    if not isinstance(value, dict) or value.get("kind") == "Pod":
        return
    workload = ManifestMapping(value, where, "", report)
    if value["kind"] in ("Job", "CronJob"):
        workload.warning("kind", "is served until the gateway is stopped; schedules and completions have no effect")
    spec = value.get("spec")
    if isinstance(spec, dict) and "replicas" in spec:
        workload.table("spec").warning("replicas", "has no effect; server.workers is the number of processes")


def hint(values: Iterable[Value]) -> str:
    """What to add for objects without a Pod, if one of them may have a Pod template or is a compose file."""
    for value in values:
        if isinstance(value, dict) and "kind" not in value and isinstance(value.get("services"), dict):
            return (
                "; it is a compose file, whose services are containers: build each program for wasm32-wasip1, and write"
                " a [[module]] of a modules.toml for it"
            )
        kind = value.get("kind") if isinstance(value, dict) else None
        if isinstance(kind, str) and kind in _TEMPLATES:
            path = _TEMPLATES[kind][1]
            return f"; a {kind} is read if {path}.metadata.annotations has {quote(ANNOTATIONS + 'modules')}"
    return ""


def _template(value: dict[str, Value]) -> dict[str, Value] | None:
    kind, version = value.get("kind"), value.get("apiVersion")
    if not isinstance(kind, str) or kind not in _TEMPLATES or not isinstance(version, str):
        return None
    groups, path = _TEMPLATES[kind]
    if version.rpartition("/")[0] not in groups:
        return None
    found: Value = value
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _has_annotations(template: dict[str, Value]) -> bool:
    metadata = template.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return isinstance(annotations, dict) and any(name.startswith(ANNOTATIONS) for name in annotations)
