"""`kubectl kustomize` with the features that deploy/kubernetes uses: Debian and PyPI have no kustomize.

An unknown feature is an error. `test_kubernetes` compares it with kubectl where that is installed.
"""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]
_CONFIG_MAP_NAMES = ("configMap", "configMapRef", "configMapKeyRef")
_CLUSTER_WIDE = ("Namespace",)


def build(directory: Path) -> list[Resource]:
    """The resources of a kustomization, generated names included."""
    resources = _accumulate(directory, [])
    renamed = {}
    for resource in resources:
        if resource["kind"] == "ConfigMap":
            content = json.dumps(resource["data"], sort_keys=True).encode()
            name = resource["metadata"]["name"]
            renamed[name] = f"{name}-{hashlib.sha256(content).hexdigest()[:10]}"
            resource["metadata"]["name"] = renamed[name]
    for resource in resources:
        _rename_config_maps(resource, renamed)
    return resources


def _accumulate(directory: Path, resources: list[Resource]) -> list[Resource]:
    """Applies a kustomization to the resources before it; a component changes them, too."""
    file = yaml.safe_load((directory / "kustomization.yaml").read_text())
    file.pop("apiVersion")
    file.pop("kind")
    for entry in file.pop("resources", ()):
        path = directory / entry
        resources += build_in(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for entry in file.pop("configMapGenerator", ()):
        _generate(directory, entry, resources)
    for entry in file.pop("components", ()):
        _accumulate(directory / entry, resources)
    for patch in file.pop("patches", ()):
        target = _find(resources, **patch.pop("target"))
        for operation in yaml.safe_load(patch.pop("patch")):
            _apply(operation, target)
        assert not patch, patch
    if namespace := file.pop("namespace", None):
        for resource in resources:
            if resource["kind"] not in _CLUSTER_WIDE:
                resource["metadata"]["namespace"] = namespace
    for image in file.pop("images", ()):
        for resource in resources:
            if resource["kind"] == "Deployment":
                for container in resource["spec"]["template"]["spec"]["containers"]:
                    if container["image"] == image["name"]:
                        container["image"] = f"{image['newName']}:{image['newTag']}"
    assert not file, f"{directory}: {', '.join(file)} is not known here"
    return resources


def build_in(directory: Path) -> list[Resource]:
    """The resources of a kustomization that is a base or a component of another one."""
    return _accumulate(directory, [])


def _generate(directory: Path, entry: dict[str, Any], resources: list[Resource]) -> None:
    data = {Path(name).name: (directory / name).read_text() for name in entry.pop("files")}
    if entry.pop("behavior", "create") == "replace":
        _find(resources, kind="ConfigMap", name=entry.pop("name"))["data"] = data
    else:
        resources.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": entry.pop("name")}, "data": data}
        )
    assert not entry, entry


def _find(resources: list[Resource], *, kind: str, name: str) -> Resource:
    (found,) = (r for r in resources if (r["kind"], r["metadata"]["name"]) == (kind, name))
    return found


def _apply(operation: dict[str, Any], target: Any) -> None:
    """Applies one operation of RFC 6902; its target must exist, except for `add`."""
    *parents, last = operation["path"].strip("/").split("/")
    for step in parents:
        target = target[int(step) if isinstance(target, list) else step]
    value = copy.deepcopy(operation["value"])
    if operation["op"] == "add" and last == "-":
        target.append(value)
    else:
        assert operation["op"] in ("add", "replace")
        assert operation["op"] == "add" or last in target
        target[last] = value


def _rename_config_maps(node: Any, renamed: dict[str, str]) -> None:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if key in _CONFIG_MAP_NAMES:
            value["name"] = renamed[value["name"]]
        _rename_config_maps(value, renamed)
