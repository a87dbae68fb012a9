"""Reads a Pod manifest into the tables of a `modules.toml`, with problems in the words of the manifest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ByteSize

from ...errors import BadRequest, Problem, StartupError
from ...outbound.policy import AllowedHost
from ...router import RoutePattern
from ..image_reference import ImageReference
from ..values import as_written, parse_listen
from .annotation import BadAnnotation, parse_modules
from .document import MAX_SIZE, BadDocument, Documents, Number, Value
from .fields import CONTAINER, METADATA, MODULE, OBJECT, RESOURCES, SPEC
from .mapping import ManifestMapping, Report, nearest, quote
from .quantity import parse_bytes
from .variables import Variables
from .volumes import PodVolumes
from .workload import ANNOTATIONS, check_workload, find_pod, hint, objects

DEFAULT_HOST = ANNOTATIONS + "default-host"
MODULES = ANNOTATIONS + "modules"

_PULL_POLICIES = {"Always": "always", "IfNotPresent": "if-not-present", "Never": "never"}
_COUNT = re.compile(r"\d{1,9}")
_MIN_MEMORY, _MAX_MEMORY = 64 * 2**10, 4 * 2**30
_ROUTES = 'it gives each container its route: {"container": {"route": "/path"}}'
_WANTED = "a Kubernetes Pod (kind: Pod, apiVersion: v1) is wanted here"


@dataclass(frozen=True, slots=True)
class PodFile:
    """The content of a Pod manifest: its valid settings, its problems and its warnings."""

    tables: dict[str, Any]
    """The tables of the equivalent `modules.toml`, as from tomllib."""
    containers: tuple[str, ...] = ()
    """The container of each table in `tables["module"]`."""
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def read_pod(path: Path) -> PodFile:
    """Reads a manifest that holds one Pod, or one workload whose Pod template has WAGI's annotations.

    Valid settings are kept beside mistakes, so that start-up checks them too. Raises StartupError for a file that
    cannot be read or parsed, or that has no Pod.
    """
    where = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
        if len(content) > MAX_SIZE:
            raise StartupError(Problem(where, f"is larger than {as_written(MAX_SIZE, ByteSize)}; {_WANTED}"))
        documents = Documents(content.decode("utf-8-sig"))
    except OSError as error:
        raise StartupError(Problem(where, f"cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError:
        raise StartupError(Problem(where, f"is not UTF-8 text; {_WANTED}")) from None
    except BadDocument as error:
        raise StartupError(Problem(where, str(error))) from None
    report = Report([Problem(where, text) for text in documents.problems])
    return PodReader(_only_pod(where, list(objects(documents.values)), report)).read()


def read_pod_object(pod: Mapping[str, Value], where: str) -> PodFile:
    """Reads a Pod of the Kubernetes API; `where` is its name in messages."""
    return PodReader(ManifestMapping(pod, where, "", Report())).read()


def _only_pod(where: str, found: list[Value], report: Report) -> ManifestMapping:
    """The only Pod among the objects; each other object gets a warning. Raises StartupError."""
    pods = [(value, pod) for value in found if (pod := find_pod(value, where, report))]
    others = [value for value in found if not any(value is holder for holder, _ in pods)]
    names = ", ".join(map(_describe, others[:5])) + (", …" if len(others) > 5 else "")
    if len(pods) > 1:
        named = ", ".join(_describe(holder) for holder, _ in pods[:5])
        what = f"holds {len(pods)} Pods: {named}; put each in a file of its own"
        raise StartupError(*report.problems, Problem(where, what))
    if not pods:
        what = f"holds no Pod but {names}" if others else "is empty"
        raise StartupError(*report.problems, Problem(where, f"{what}; {_WANTED}{hint(others)}"))
    report.warnings += [Problem(where, f"{_describe(other)} is not read; only the Pod is") for other in others]
    holder, pod = pods[0]
    check_workload(holder, where, report)
    return pod


def _describe(value: Value) -> str:
    """The kind and name of an object for messages: `Deployment "web"`."""
    if not isinstance(value, dict):
        return "something that is no object"
    kind, metadata = value.get("kind"), value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    words = f"{quote(kind)}" if isinstance(kind, str) else "an object without kind"
    return f'{words} "{name[:60]}"' if isinstance(name, str) and name.isprintable() else words


class ListedContainers(NamedTuple):
    """Containers by name."""

    by_name: dict[str, ManifestMapping]
    is_complete: bool
    """Whether every container has a name; if not, no name in the annotation is reported as unknown."""


class PodReader:
    """Converts one Pod, with its problems and warnings in the Pod's report."""

    def __init__(self, pod: ManifestMapping) -> None:
        self.pod = pod
        self.routes: dict[tuple[bytes, bool], str] = {}

    def read(self) -> PodFile:
        self.pod.check_fields(OBJECT)
        is_template = bool(self.pod.prefix)
        if not is_template and self.pod.text("apiVersion", needed="write apiVersion: v1") not in (None, "v1"):
            self.pod.problem("apiVersion", "a Pod's is v1")
        metadata, spec = self.pod.table("metadata"), self.pod.table("spec")
        metadata.check_fields(METADATA)
        spec.check_fields(SPEC)
        self.variables = Variables(metadata, spec)
        tables: dict[str, Any] = {}
        annotations = metadata.table("annotations")
        if listen := _listen(annotations):
            tables["server"] = {"listen": listen}
        entries = self._entries(annotations)
        volumes = PodVolumes(spec)
        modules = dict(self._modules(spec, entries, volumes))
        volumes.check_kinds()
        if modules:
            tables["module"] = list(modules.values())
        report = self.pod.report
        if not modules and not report.problems:
            report.problems.append(
                Problem(annotations.where, f"{annotations.prefix}{MODULES}: names no container; {_ROUTES}")
            )
        return PodFile(tables, tuple(modules), tuple(report.problems), tuple(report.warnings))

    def _entries(self, annotations: ManifestMapping) -> ManifestMapping | None:
        """The mapping in the annotation, by container; None if there is a problem."""
        for name in annotations.values:
            if name.startswith(ANNOTATIONS) and name not in (DEFAULT_HOST, MODULES):
                annotations.unknown("annotation", name, [DEFAULT_HOST, MODULES])
        text = annotations.text(MODULES, needed=_ROUTES)
        if text is None:
            return None
        where = f"{annotations.where}: {annotations.prefix}{MODULES}"
        try:
            return ManifestMapping(parse_modules(text), where, "", annotations.report)
        except BadAnnotation as error:
            annotations.report.problems.append(Problem(where, str(error)))
            return None

    def _modules(
        self, spec: ManifestMapping, entries: ManifestMapping | None, volumes: PodVolumes
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The name and `[[module]]` of each container that has a route."""
        containers = self._containers(spec)
        for name, container in containers.by_name.items():
            if entries and name not in entries.values:
                what = f"is not served: the annotation {MODULES} gives it no route"
                self.pod.report.warnings.append(Problem(container.where, what))
                continue
            module = self._module(container, self._entry(entries, name) if entries else {}, volumes)
            if {"route", "module"} <= module.keys():
                yield name, module
        if entries and containers.is_complete:
            for name in [name for name in entries.values if name not in containers.by_name]:
                hint = entries.nearest(name, containers.by_name)
                entries.problem(name, f"there is no such container in spec.containers{hint}")

    def _containers(self, spec: ManifestMapping) -> ListedContainers:
        """The containers of `spec`; those without a name of their own are left out."""
        if "containers" not in spec and not spec.is_wrong:
            spec.problem("containers", "missing; each of them is a module")
        containers: dict[str, ManifestMapping] = {}
        is_complete = isinstance(listed := spec.values.get("containers"), list) and all(
            isinstance(c, dict) for c in listed
        )
        for table in spec.tables("containers", as_objects=True):
            name = table.text("name", needed=f"the annotation {MODULES} refers to it")
            if name in containers:
                table.problem("name", "another container has this name; give it one of its own")
            elif name is None:
                is_complete = False
            else:
                containers[name] = table
        return ListedContainers(containers, is_complete)

    def _entry(self, entries: ManifestMapping, name: str) -> dict[str, Any]:
        """The keys that the annotation sets in one container's `[[module]]`."""
        if not isinstance(entries.values[name], dict):
            entries.problem(name, 'must be an object, such as {"route": "/path"}')
            return {}
        entry = entries.table(name)
        entry.check_fields(MODULE)
        values = {
            "route": self._route(entry, name),
            "entrypoint": entry.text("entrypoint"),
            "allowed_hosts": _allowed_hosts(entry) if "allowed_hosts" in entry else None,
            "http_max_concurrency": _count(entry, "http_max_concurrency"),
        }
        if values["entrypoint"] == "":
            entry.problem("entrypoint", "must not be empty; leave it out for _start")
            del values["entrypoint"]
        return {key: value for key, value in values.items() if value is not None}

    def _route(self, entry: ManifestMapping, container: str) -> str | None:
        route = entry.text("route", needed='write for example "/path", or "/path/..." for everything below it too')
        if route is None:
            return None
        try:
            pattern = RoutePattern(route)
        except (ValueError, BadRequest) as error:
            entry.problem("route", str(error))
            return None
        other = self.routes.setdefault((pattern.key, pattern.is_prefix), container)
        if other != container:
            entry.problem("route", f"container {quote(other)} has this route; give it another one")
            return None
        return route

    def _module(self, container: ManifestMapping, entry: Mapping[str, Any], volumes: PodVolumes) -> dict[str, Any]:
        """The `[[module]]` of a container, with the keys of its annotation."""
        container.check_fields(CONTAINER)
        image = container.text("image", needed="it is the module's reference, such as registry.example.com/hello:v1")
        values = {
            "route": entry.get("route"),
            "module": _reference(container, image) if image else None,
            "pull_policy": _pull_policy(container),
            **{key: value for key, value in entry.items() if key != "route"},
            "limits": _limits(container.table("resources")),
            "volumes": volumes.mounts(container) or None,
            "environment": self.variables.read(container) or None,
        }
        return {key: value for key, value in values.items() if value is not None}


def _listen(annotations: ManifestMapping) -> str | None:
    text = annotations.text(DEFAULT_HOST)
    if text is None:
        return None
    try:
        parse_listen(text)
    except ValueError as error:
        annotations.problem(DEFAULT_HOST, str(error))
        return None
    return text


def _allowed_hosts(entry: ManifestMapping) -> list[str]:
    hosts = []
    for number, host in enumerate(entry.items("allowed_hosts")):
        path = f"allowed_hosts[{number}]"
        if not isinstance(host, str):
            entry.problem(path, "must be text in quotes")
            continue
        try:
            AllowedHost.parse(host)
            hosts.append(host)
        except ValueError as error:
            entry.problem(path, f"{quote(host)}: {error}")
    return hosts


def _count(entry: ManifestMapping, key: str) -> int | None:
    value = entry.values.get(key)
    if value is None:
        return None
    if isinstance(value, Number) and _COUNT.fullmatch(value.text):
        return int(value.text)
    entry.problem(key, "must be a whole number, 0 or more")
    return None


def _reference(container: ManifestMapping, image: str) -> str | None:
    reference = f"oci:{image}"
    try:
        ImageReference.parse(reference)
    except ValueError as error:
        container.problem("image", str(error))
        return None
    return reference


def _pull_policy(container: ManifestMapping) -> str | None:
    policy = container.text("imagePullPolicy")
    if policy and policy not in _PULL_POLICIES:
        container.problem("imagePullPolicy", f"not a pull policy{nearest(policy, _PULL_POLICIES)}")
    return _PULL_POLICIES.get(policy or "")


def _limits(resources: ManifestMapping) -> dict[str, str] | None:
    """`limits.memory`, which bounds each guest: every request has its own linear memory."""
    resources.check_fields(RESOURCES)
    limits = resources.table("limits")
    for name in limits.values:
        if name != "memory":
            limits.warning(name, "has no effect; limits.time and limits.concurrency of a modules.toml bound a guest")
    memory = limits.values.get("memory")
    if memory is None:
        return None
    try:
        size = parse_bytes(memory.text if isinstance(memory, Number) else str(memory))
        if size < _MIN_MEMORY:
            raise ValueError(
                f'a guest needs {as_written(_MIN_MEMORY, ByteSize)} at least; "Mi" are mebibytes, "m" thousandths'
            )
    except ValueError as error:
        limits.problem("memory", str(error))
        return None
    return {"memory": as_written(min(size, _MAX_MEMORY), ByteSize)}
