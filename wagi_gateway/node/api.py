"""The Kubernetes API as the node uses it: objects are JSON documents, errors are two classes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, NamedTuple, Protocol

from ..errors import GatewayError

Object = dict[str, Any]
"""An object of the Kubernetes API, as JSON has it: `{"metadata": {…}, "spec": {…}, "status": {…}}`."""


class Kind(NamedTuple):
    """A resource type: where its objects are in the API."""

    group_version: str
    """`v1`, or `GROUP/VERSION`."""
    plural: str
    """Its name in URLs."""
    namespaced: bool = True


NODES = Kind("v1", "nodes", namespaced=False)
PODS = Kind("v1", "pods")
EVENTS = Kind("v1", "events")
SECRETS = Kind("v1", "secrets")
CONFIG_MAPS = Kind("v1", "configmaps")
SERVICE_ACCOUNTS = Kind("v1", "serviceaccounts")
SERVICES = Kind("v1", "services")
LEASES = Kind("coordination.k8s.io/v1", "leases")
TOKEN_REVIEWS = Kind("authentication.k8s.io/v1", "tokenreviews", namespaced=False)
SUBJECT_ACCESS_REVIEWS = Kind("authorization.k8s.io/v1", "subjectaccessreviews", namespaced=False)
CERTIFICATE_SIGNING_REQUESTS = Kind("certificates.k8s.io/v1", "certificatesigningrequests", namespaced=False)


class ApiError(GatewayError):
    """The API server refused a request, with the fields of its Status object."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{message} ({status} {reason})")
        self.status = status
        """The HTTP status, such as 404."""
        self.reason = reason
        """`NotFound`, `AlreadyExists`, `Conflict`, `Forbidden`, `Expired` …"""
        self.message = message


class ApiUnreachable(GatewayError):
    """No valid response came from the API server: connection, TLS, time limit or a truncated body."""


MALFORMED = (LookupError, TypeError, ValueError, AttributeError)
"""What it may raise to read a document that has not the form of its kind."""


def described(error: BaseException) -> str:
    """An error of a call in words for a log."""
    return f"the API server's answer has not its form: {error!r}" if isinstance(error, MALFORMED) else str(error)


class WatchEvent(NamedTuple):
    """One line of a watch."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: Object
    """The object; a Status for `ERROR`; for `BOOKMARK` its `metadata.resourceVersion` alone matters."""


class Api(Protocol):
    """The API server. Every method raises ApiError and ApiUnreachable."""

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """The object of that name."""

    async def list(self, kind: Kind, *, namespace: str | None = None, field_selector: str = "") -> Object:
        """All objects, of all namespaces without `namespace`: `items`, and `metadata.resourceVersion` for a watch."""

    def watch(self, kind: Kind, *, field_selector: str, resource_version: str) -> AsyncIterator[WatchEvent]:
        """The changes after `resource_version`, until the server ends the watch."""

    async def create(self, kind: Kind, body: Object, namespace: str | None = None) -> Object:
        """The object as it was stored. The namespace is that of `body.metadata` if None is given."""

    async def replace(self, kind: Kind, body: Object) -> Object:
        """The object as it was stored; 409 if `metadata.resourceVersion` is not the current one."""

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
        """The object after a strategic merge patch, or after a JSON merge patch (RFC 7386) with `merge`."""

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        grace_period: int | None = None,
    ) -> None:
        """Deletes the object; 409 if it has another uid. `grace_period` is in seconds, of Pods."""

    async def create_token(self, namespace: str, service_account: str, body: Object) -> Object:
        """The answer to a TokenRequest."""

    async def aclose(self) -> None:
        """Closes the connections."""
