"""A Kubernetes API in memory: the seam `Api` with resource versions, watches, strategic merge and preconditions.

What it leaves out: admission, validation, RBAC and garbage collection. tests/cluster/ has a real API server.
"""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from lightkube.config.kubeconfig import SingleConfig

from wagi_gateway.node.api import NODES, PODS, Api, ApiError, Kind, Object, WatchEvent

MERGE_KEYS = {
    "conditions": "type",
    "addresses": "type",
    "podIPs": "ip",
    "hostIPs": "ip",
    "containers": "name",
    "volumes": "name",
    "ownerReferences": "uid",
}
"""The lists that a strategic merge patch merges, with the key of their items; other lists are replaced."""
GRACE_PERIOD = 30


class _Change(NamedTuple):
    version: int
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    kind: Kind
    object: Object


class MemoryApi(Api):
    """Objects by kind, namespace and name. Every object that comes in or goes out is a copy."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Kind, str]] = []
        """Verb (with `/subresource`), kind and name of each call."""
        self.failures: list[Exception] = []
        """Errors of the next calls, watches included, one each."""
        self.forbidden: set[Kind] = set()
        """Kinds to which the node has no right."""
        self.answers: dict[Kind, Callable[[Object], Object]] = {}
        """What `create` stores and returns for a body: reviews and signing requests need an answer."""
        self.tokens: Callable[[str, str, Object], Object] = _token
        self._objects: dict[tuple[Kind, str, str], Object] = {}
        self._history: list[_Change] = []
        self._version = 0
        self._oldest = 0
        self._connection = 0
        self._changed = asyncio.Condition()

    # What a test does beside the node.

    def put(self, kind: Kind, body: Object) -> Object:
        """Stores an object as it is, whether it exists or not; without `await`, before the node starts."""
        body = copy.deepcopy(body)
        key = _key(kind, body["metadata"]["name"], body["metadata"].get("namespace"))
        metadata = body["metadata"]
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("creationTimestamp", _now())
        if kind.namespaced:
            metadata.setdefault("namespace", "default")
        return self._store(key, body, "MODIFIED" if key in self._objects else "ADDED")

    def objects(self, kind: Kind, field_selector: str = "", namespace: str | None = None) -> list[Object]:
        """Copies of all objects of a kind."""
        return [
            copy.deepcopy(one)
            for (of, where, _), one in self._objects.items()
            if of == kind and namespace in (None, where) and _matches(one, field_selector)
        ]

    def compact(self) -> None:
        """Forgets the history: watches of an older version get 410 Expired."""
        self._version += 1
        self._oldest = self._version

    async def disconnect(self) -> None:
        """Ends every watch."""
        self._connection += 1
        await self._notify()

    async def notify(self) -> None:
        """Wakes the watches after `put`."""
        await self._notify()

    async def bookmark(self) -> None:
        """Each watch reports the current version."""
        self._version += 1
        self._history.append(_Change(self._version, "MODIFIED", _BOOKMARKS, {"metadata": {}}))
        await self._notify()

    # The seam.

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        self._called("get", kind, name)
        return copy.deepcopy(self._found(kind, name, namespace))

    async def list(self, kind: Kind, *, namespace: str | None = None, field_selector: str = "") -> Object:
        self._called("list", kind, "")
        items = self.objects(kind, field_selector, namespace)
        return {"metadata": {"resourceVersion": str(self._version)}, "items": items}

    async def watch(self, kind: Kind, *, field_selector: str, resource_version: str) -> AsyncIterator[WatchEvent]:
        self._called("watch", kind, "")
        seen, connection = int(resource_version), self._connection
        if seen < self._oldest:
            yield WatchEvent("ERROR", _status(410, "Expired", "too old resource version"))
            return
        while connection == self._connection:
            for change in [one for one in self._history if one.version > seen]:
                seen = change.version
                if change.kind == _BOOKMARKS:
                    yield WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": str(seen)}})
                elif change.kind == kind and _matches(change.object, field_selector):
                    yield WatchEvent(change.type, copy.deepcopy(change.object))
            async with self._changed:
                while self._version == seen and connection == self._connection:
                    await self._changed.wait()

    async def create(self, kind: Kind, body: Object, namespace: str | None = None) -> Object:
        metadata = copy.deepcopy(body.get("metadata") or {})
        if "name" not in metadata and "generateName" in metadata:
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        name = metadata.setdefault("name", uuid.uuid4().hex)
        self._called("create", kind, name)
        if kind.namespaced:
            metadata["namespace"] = namespace or metadata.get("namespace") or "default"
        key = _key(kind, name, metadata.get("namespace"))
        if key in self._objects:
            raise ApiError(409, "AlreadyExists", f'{kind.plural} "{name}" already exists')
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now(), "generation": 1}
        stored = copy.deepcopy(body) | {"metadata": metadata}
        if kind in self.answers:
            stored = self.answers[kind](stored)
        stored = self._store(key, stored, "ADDED")
        await self._notify()
        return stored

    async def replace(self, kind: Kind, body: Object) -> Object:
        metadata = body["metadata"]
        self._called("replace", kind, metadata["name"])
        found = self._found(kind, metadata["name"], metadata.get("namespace"))
        if metadata.get("resourceVersion") not in (None, found["metadata"]["resourceVersion"]):
            raise ApiError(409, "Conflict", f'{kind.plural} "{metadata["name"]}": the object has been modified')
        key = _key(kind, metadata["name"], metadata.get("namespace"))
        stored = self._store(key, copy.deepcopy(body), "MODIFIED")
        await self._notify()
        return stored

    async def patch(
        self,
        kind: Kind,
        name: str,
        body: Object,
        namespace: str | None = None,
        *,
        subresource: str = "",
        merge: bool = False,
    ) -> Object:
        self._called(f"patch/{subresource}" if subresource else "patch", kind, name)
        found = self._found(kind, name, namespace)
        self._check_uid(kind, found, body.get("metadata", {}).get("uid"))
        changes = copy.deepcopy(body)
        if kind in (PODS, NODES):  # the kinds with the subresource
            for part in ("spec", "status"):
                if (part == "status") != (subresource == "status"):
                    changes.pop(part, None)
        stored = self._store(_key(kind, name, namespace), merged(found, changes, is_strategic=not merge), "MODIFIED")
        await self._notify()
        return stored

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        grace_period: int | None = None,
    ) -> None:
        self._called("delete", kind, name)
        found = copy.deepcopy(self._found(kind, name, namespace))
        self._check_uid(kind, found, uid)
        key = _key(kind, name, namespace)
        grace = _grace(kind, found, grace_period)
        if grace:
            until = (datetime.now(UTC) + timedelta(seconds=grace)).strftime("%Y-%m-%dT%H:%M:%SZ")
            found["metadata"] |= {"deletionTimestamp": until, "deletionGracePeriodSeconds": grace, "generation": 2}
            self._store(key, found, "MODIFIED")
        else:
            del self._objects[key]
            self._record("DELETED", kind, found)
        await self._notify()

    async def create_token(self, namespace: str, service_account: str, body: Object) -> Object:
        self._called("create/token", PODS, service_account)
        return self.tokens(namespace, service_account, body)

    async def aclose(self) -> None:
        await self.disconnect()

    def _called(self, verb: str, kind: Kind, name: str) -> None:
        self.calls.append((verb, kind, name))
        if self.failures:
            raise self.failures.pop(0)
        if kind in self.forbidden:
            raise ApiError(403, "Forbidden", f"{kind.plural} is forbidden")

    def _found(self, kind: Kind, name: str, namespace: str | None) -> Object:
        try:
            return self._objects[_key(kind, name, namespace)]
        except KeyError:
            raise ApiError(404, "NotFound", f'{kind.plural} "{name}" not found') from None

    def _check_uid(self, kind: Kind, found: Object, uid: str | None) -> None:
        if uid not in (None, found["metadata"]["uid"]):
            message = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found['metadata']['uid']}"
            raise ApiError(409, "Conflict", f'{kind.plural} "{found["metadata"]["name"]}": {message}')

    def _store(
        self, key: tuple[Kind, str, str], body: Object, event: Literal["ADDED", "MODIFIED", "DELETED"]
    ) -> Object:
        self._objects[key] = body
        self._record(event, key[0], body)
        return copy.deepcopy(body)

    def _record(self, event: Literal["ADDED", "MODIFIED", "DELETED"], kind: Kind, body: Object) -> None:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self._history.append(_Change(self._version, event, kind, copy.deepcopy(body)))

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class ConnectedApi(MemoryApi):
    """An API whose connections have a client certificate."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[SingleConfig] = []
        """The configurations that it was given."""
        self.is_closed = False

    async def reload(self, config: SingleConfig) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.loaded.append(config)

    async def aclose(self) -> None:
        self.is_closed = True
        await super().aclose()


_BOOKMARKS = Kind("", "bookmarks", namespaced=False)


def merged(old: Any, changes: Any, *, is_strategic: bool = True) -> Any:
    """`old` with a strategic merge patch, or a JSON merge patch (RFC 7386)."""
    if not isinstance(changes, dict):
        return changes
    if changes.get("$patch") == "replace":
        return {key: value for key, value in changes.items() if key != "$patch"}
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif is_strategic and isinstance(value, list) and key in MERGE_KEYS:
            result[key] = _merged_list(result.get(key) or [], value, MERGE_KEYS[key])
        else:
            result[key] = merged(result.get(key), value, is_strategic=is_strategic)
    return result


def _merged_list(old: list[Object], changes: list[Object], merge_key: str) -> list[Object]:
    if {"$patch": "replace"} in changes:
        return [one for one in changes if "$patch" not in one]
    items = {one[merge_key]: one for one in old}
    for change in changes:
        if change.get("$patch") == "delete":
            items.pop(change[merge_key], None)
        else:
            items[change[merge_key]] = merged(items.get(change[merge_key]), change)
    return list(items.values())


def _key(kind: Kind, name: str, namespace: str | None) -> tuple[Kind, str, str]:
    return kind, (namespace or "default") if kind.namespaced else "", name


def _matches(body: Object, field_selector: str) -> bool:
    for term in filter(None, field_selector.split(",")):
        path, _, value = term.partition("=")
        found: Any = body
        for part in path.split("."):
            found = found.get(part, {})
        if found != value:
            return False
    return True


def _grace(kind: Kind, body: Object, wanted: int | None) -> int:
    """The seconds until a Pod is deleted, as the API server decides; 0 deletes at once."""
    spec, status = body.get("spec", {}), body.get("status", {})
    if kind != PODS or not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    grace = spec.get("terminationGracePeriodSeconds", GRACE_PERIOD) if wanted is None else wanted
    return int(min(grace, body["metadata"].get("deletionGracePeriodSeconds", grace)))


def _token(_namespace: str, service_account: str, body: Object) -> Object:
    lifetime = body.get("spec", {}).get("expirationSeconds", 3600)
    expiration = (datetime.now(UTC) + timedelta(seconds=lifetime)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"status": {"token": f"token-of-{service_account}", "expirationTimestamp": expiration}}


def _status(code: int, reason: str, message: str) -> Object:
    return {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
