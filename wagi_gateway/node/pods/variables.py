"""`env` and `envFrom` of a container: literal values, ConfigMaps, Secrets and the downward API; and Services."""

from __future__ import annotations

import asyncio
from collections import ChainMap, UserDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ...cgi.environ import MAX_ENVIRON
from ...config.pod.variables import expand
from ...config.values import check_reserved
from ..api import Object
from .downward import DownwardFields
from .references import ReferenceMissing, References

MAX_BYTES = MAX_ENVIRON * 3 // 4
"""Bytes of a container's names and values: with more, a request has no room for its own, and gets 431."""


class ResolvedVariables(NamedTuple):
    """The environment of one container."""

    environment: dict[str, str]
    skipped: tuple[str, ...]
    """Keys of `envFrom` that cannot be the name of a variable."""


async def resolve_variables(
    container: Object,
    references: References,
    fields: DownwardFields,
    services: Mapping[str, str] = MappingProxyType({}),
) -> ResolvedVariables:
    """The environment of a container, as a kubelet computes it: `env` over `envFrom` over the variables of Services.

    Raises ReferenceMissing, UnknownField, ApiError.
    """
    environment = _Environment(container["name"])
    skipped: list[str] = []
    for source in container.get("envFrom") or ():
        await asyncio.sleep(0)  # a Pod may have very many of them
        for key, value in (await _all_of(source, references)).items():
            name = f"{source.get('prefix') or ''}{key}"
            if not _is_name(name):
                skipped.append(name[:100])
                continue
            environment[name] = _text(value, name)
    known = ChainMap(environment, dict(services))
    for variable in container.get("env") or ():
        await asyncio.sleep(0)
        name = variable["name"]
        if source := variable.get("valueFrom"):
            value_of = await _value_from(source, container["name"], name, references, fields)
            if value_of is not None:
                environment[name] = value_of
            continue
        try:
            environment[name] = expand(variable.get("value") or "", known, MAX_BYTES)
        except ValueError:
            raise ReferenceMissing(f"env {name}: grows to more than {MAX_BYTES} characters") from None
    for name, service in services.items():
        environment.setdefault(name, service)
    return ResolvedVariables(environment.data, tuple(skipped))


class _Environment(UserDict[str, str]):
    """The variables of a container, which are counted one by one: each may refer to all before it."""

    def __init__(self, container: str) -> None:
        super().__init__()
        self._container = container
        self._size = 0

    def __setitem__(self, name: str, value: str) -> None:
        """Sets a variable. Raises ReferenceMissing."""
        self._size -= _size(name, self.data[name]) if name in self.data else 0
        self._size += _size(name, value)
        if self._size > MAX_BYTES:
            what = f"more than {MAX_BYTES} bytes of variables, which leaves a request no room for its own"
            raise ReferenceMissing(f"container {self._container}: {what}; mount the values as a volume")
        super().__setitem__(name, value)


async def _all_of(source: Object, references: References) -> Mapping[str, bytes]:
    if reference := source.get("configMapRef"):
        return await references.config_map(reference["name"], optional=bool(reference.get("optional")))
    reference = source.get("secretRef") or {}
    return await references.secret(reference.get("name", ""), optional=bool(reference.get("optional")))


async def _value_from(
    source: Object, container: str, name: str, references: References, fields: DownwardFields
) -> str | None:
    """The value of one source; None for an optional one that is absent."""
    if reference := source.get("fieldRef"):
        return fields.field(reference["fieldPath"])
    if reference := source.get("resourceFieldRef"):
        return fields.resource(container, reference)
    for kind, noun, read in (
        ("configMapKeyRef", "configmap", references.config_map),
        ("secretKeyRef", "secret", references.secret),
    ):
        if reference := source.get(kind):
            optional = bool(reference.get("optional"))
            values = await read(reference["name"], optional=optional)
            if reference["key"] in values:
                return _text(values[reference["key"]], name)
            if optional:
                return None
            raise ReferenceMissing(f'couldn\'t find key {reference["key"]} in {noun} "{reference["name"]}"')
    raise ReferenceMissing(f"env {name}: {', '.join(source)[:100]} is not supported on this node")


def _is_name(name: str) -> bool:
    try:
        check_reserved(name)
    except ValueError:
        return False
    return bool(name) and "=" not in name and "\0" not in name


def _size(name: str, value: str) -> int:
    return len(name.encode()) + len(value.encode())


def _text(value: bytes, name: str) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise ReferenceMissing(f"env {name}: the value is not UTF-8 text; mount it as a volume") from None
    if "\0" in text:
        raise ReferenceMissing(f"env {name}: the value has a NUL character; mount it as a volume")
    return text
