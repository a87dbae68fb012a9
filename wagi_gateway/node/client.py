"""The Kubernetes API over HTTPS, with the configuration and authentication of lightkube."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx2
import msgspec
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from ..version import __version__
from .api import SERVICE_ACCOUNTS, SERVICES, Api, ApiError, ApiUnreachable, Kind, Object, WatchEvent

MAX_BODY = 256 << 20
"""Bytes of a response: a page of a list has up to 100 objects, of which etcd keeps 1.5 MiB each."""
MAX_LIST = {SERVICES: 16 << 20}
"""Bytes of all pages of a list; of another kind than these, twice MAX_BODY."""
MAX_EVENT = 8 << 20
"""Bytes of one line of a watch."""
_PAGE = 100
_WATCH_SECONDS = 60
"""A watch ends after this time and begins anew: so a connection that died without a word is noticed soon."""
_TIMEOUT = httpx2.Timeout(10, read=30)
_WATCH_TIMEOUT = httpx2.Timeout(10, read=_WATCH_SECONDS + 30)
_RETRIES = 4
_MAX_RETRY_AFTER = 10
_STRATEGIC, _MERGE = "application/strategic-merge-patch+json", "application/merge-patch+json"


class LightkubeApi(Api):
    """One API server, as one user of a kubeconfig."""

    def __init__(self, config: SingleConfig) -> None:
        """Raises ApiUnreachable if the configuration or a file that it names is invalid."""
        self._http = _client(config)
        self._earlier: httpx2.AsyncClient | None = None

    async def reload(self, config: SingleConfig) -> None:
        """New requests have another configuration; those under way end with the earlier one.

        Raises ApiUnreachable, and keeps the earlier one, if the configuration or a file that it names is invalid.
        """
        client = _client(config)
        if self._earlier:
            await self._earlier.aclose()
        self._earlier, self._http = self._http, client

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        return await self._request("GET", _path(kind, namespace, name))

    async def list(self, kind: Kind, *, namespace: str | None = None, field_selector: str = "") -> Object:
        params = {"limit": str(_PAGE)} | ({"fieldSelector": field_selector} if field_selector else {})
        items: list[Object] = []
        size, most = 0, MAX_LIST.get(kind, 2 * MAX_BODY)
        while True:
            body = await self._body("GET", _path(kind, namespace), params=params)
            size += len(body)
            if size > most:
                raise ApiError(413, "RequestEntityTooLarge", f"the list of {kind.plural} has more than {most} bytes")
            page = _json(body)
            items += page.get("items") or []
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return {"metadata": metadata, "items": items}
            params["continue"] = metadata["continue"]

    async def watch(self, kind: Kind, *, field_selector: str, resource_version: str) -> AsyncIterator[WatchEvent]:
        params = {
            "watch": "1",
            "fieldSelector": field_selector,
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS - random.randrange(10)),  # noqa: S311  # spreads the nodes
        }
        async with self._response("GET", _path(kind), params=params, timeout=_WATCH_TIMEOUT) as response:
            async for line in _lines(response):
                document = _json(line)
                found = document.get("object") or {}
                if not isinstance(found, dict):
                    raise ApiUnreachable(f"an event of the watch has no object: {line[:100]!r}")
                yield WatchEvent(document.get("type", "ERROR"), found)

    async def create(self, kind: Kind, body: Object, namespace: str | None = None) -> Object:
        return await self._request("POST", _path(kind, _namespace(kind, body, namespace)), body)

    async def replace(self, kind: Kind, body: Object) -> Object:
        return await self._request("PUT", _path(kind, _namespace(kind, body), body["metadata"]["name"]), body)

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
        path = _path(kind, namespace, name, *([subresource] if subresource else []))
        return await self._request("PATCH", path, body, content_type=_MERGE if merge else _STRATEGIC)

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        grace_period: int | None = None,
    ) -> None:
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_period is not None:
            options["gracePeriodSeconds"] = grace_period
        await self._request("DELETE", _path(kind, namespace, name), options)

    async def create_token(self, namespace: str, service_account: str, body: Object) -> Object:
        return await self._request("POST", _path(SERVICE_ACCOUNTS, namespace, service_account, "token"), body)

    async def aclose(self) -> None:
        await self._http.aclose()
        if self._earlier:
            await self._earlier.aclose()

    async def _request(
        self, method: str, path: str, body: Object | None = None, *, content_type: str = "application/json"
    ) -> Object:
        return _json(await self._body(method, path, body, content_type=content_type))

    async def _body(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        params: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        """The answer's body; a request that the server put off (429) is sent again, a few times."""
        content = None if body is None else json.dumps(body).encode()
        attempts = 0
        while True:
            try:
                async with self._response(
                    method, path, params=params, content=content, headers={"content-type": content_type}
                ) as response:
                    return await _read(response)
            except TooManyRequests as error:
                attempts += 1
                if attempts > _RETRIES:
                    raise
                await asyncio.sleep(error.retry_after)

    @asynccontextmanager
    async def _response(self, method: str, path: str, **options: Any) -> AsyncIterator[httpx2.Response]:
        try:
            async with self._http.stream(method, path, **options) as response:
                if response.status_code >= 300:
                    raise _refusal(response, await _read(response))
                yield response
        except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, ConfigError, OSError) as error:
            raise ApiUnreachable(f"{self._http.base_url}: {_text(error)}") from error


class TooManyRequests(ApiError):
    """The server is at capacity (429), and names the seconds after which the request may come again."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float) -> None:
        super().__init__(status, reason, message)
        self.retry_after = retry_after


def _client(config: SingleConfig) -> httpx2.AsyncClient:
    """The client of a configuration. Raises ApiUnreachable."""
    user = config.user or User()
    if user.token_file:  # whose relative path lightkube leaves as it is
        user = msgspec.structs.replace(user, token_file=str(config.abs_file(user.token_file)))
    try:
        tls: ssl.SSLContext = verify_cluster(config.cluster, user, config.abs_file, trust_env=False)
        auth = user_auth(user)
    except (ConfigError, OSError, ValueError) as error:
        raise ApiUnreachable(f"the kubeconfig: {error}") from error
    # Python 3.13 requires key identifiers that certificates of older clusters do not have; Go does not.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return httpx2.AsyncClient(
        base_url=config.cluster.server,
        verify=tls,
        auth=auth,
        timeout=_TIMEOUT,
        trust_env=False,
        headers={"user-agent": f"wagi-gateway/{__version__}", "accept": "application/json"},
    )


def _path(kind: Kind, namespace: str | None = None, *rest: str) -> str:
    root = "/apis/" if "/" in kind.group_version else "/api/"
    segments = [kind.plural, *rest]
    if namespace is not None and kind.namespaced:
        segments = ["namespaces", namespace, *segments]
    for segment in segments:
        if segment in {"", ".", ".."}:
            raise ApiError(400, "BadRequest", f'"{segment}" is no name of an object of {kind.plural}')
    return root + "/".join([kind.group_version, *(quote(segment, safe="") for segment in segments)])


def _namespace(kind: Kind, body: Object, given: str | None = None) -> str | None:
    if not kind.namespaced:
        return None
    return given or body.get("metadata", {}).get("namespace") or "default"


async def _read(response: httpx2.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BODY:
            raise ApiUnreachable(f"{response.url}: the response has more than {MAX_BODY} bytes")
    return bytes(body)


async def _lines(response: httpx2.Response) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for chunk in response.aiter_bytes():
        begin = len(rest)
        rest += chunk
        if b"\n" in chunk:
            end = rest.rindex(b"\n", begin)
            for line in bytes(rest[:end]).split(b"\n"):
                yield line
            del rest[: end + 1]
        if len(rest) > MAX_EVENT:
            raise ApiUnreachable(f"{response.url}: a line of the watch has more than {MAX_EVENT} bytes")


def _json(text: bytes) -> Object:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ApiUnreachable(f"the response is no JSON: {text[:100]!r}") from error
    if not isinstance(document, dict):
        raise ApiUnreachable(f"the response is no JSON object: {text[:100]!r}")
    return document


def _refusal(response: httpx2.Response, body: bytes) -> ApiError:
    """The error of a status above 299, whose body is a Status object unless a proxy answered."""
    status = response.status_code
    try:
        document = _json(body)
    except ApiUnreachable:
        document = {"message": body[:200].decode(errors="replace").strip()}
    reason = str(document.get("reason") or response.reason_phrase)
    message = str(document.get("message") or "no message")
    if status == 429:
        return TooManyRequests(status, reason, message, _retry_after(response.headers.get("retry-after", "")))
    return ApiError(status, reason, message)


def _retry_after(value: str) -> float:
    return min(int(value), _MAX_RETRY_AFTER) if value.isdecimal() else 1


def _text(error: Exception) -> str:
    """The message of an error; some of httpx have none."""
    return str(error) or type(error).__name__
