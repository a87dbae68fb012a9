"""HTTP as registries need it: bounded in time, size, redirects and retries; nothing of ours goes to another host."""

from __future__ import annotations

import functools
import io
import logging
import ssl
import threading
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import rewind_body
from urllib3 import PoolManager, ProxyManager
from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

from ...tls import create_context
from .deadline import RegistryDeadline, watched_pools
from .errors import Invalid, Unreachable
from .retry import RetryPolicy

MAX_RETRY_AFTER = 30.0
"""Seconds; a registry that wants us to wait longer is asked again after these."""
_MAX_REDIRECTS = 5
_PASSING = {429, 500, 502, 503, 504}
_MAX_ANSWER = 1 << 20
"""Bytes of an answer that is not a blob or manifest: a token, an upload's place."""
_MAX_REFUSAL = 8 << 10
"""Bytes of an answer that is an error or a redirect."""
_PIECE = 16 << 10

# Their messages hold what URLs and token servers' answers hold, signatures and tokens; what is wrong we say ourselves.
for _name in ("urllib3", "oras.logger"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class RegistrySession(requests.Session):
    """A `requests.Session` for one registry. Raises RegistryError besides what requests raises."""

    def __init__(self, retry: RetryPolicy, ca_file: Path | None, over: threading.Event | None = None) -> None:
        """`over` ends pauses. Raises Unreachable if the file of certificate authorities cannot be used."""
        super().__init__()
        self.retry = retry
        self._over = over or threading.Event()
        self.deadline = RegistryDeadline()
        self.max_redirects = _MAX_REDIRECTS
        self.auth = _as_it_is
        # Digests are of the bytes on the wire.
        self.headers.update({"Accept-Encoding": "identity", "User-Agent": "wagi-gateway"})
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.mount("https://", _Adapter(self, _trust(ca_file)))
        self.mount("http://", _Adapter(self))

    def pause(self, seconds: float) -> None:
        """Waits before something is asked for again. Raises Unreachable if nobody wants it any more."""
        if self._over.wait(seconds):
            raise Unreachable("it was given up")

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        data = options.get("data")
        if isinstance(data, bytes) and len(data) > _PIECE:
            # Sent in pieces, so that the timeout is for each of them and not for all.
            options["data"] = io.BytesIO(data)
        return super().request(method, url, **options)

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """As requests has it, but without ~/.netrc, and never from https to http."""
        before, after = response.request.url or "", prepared_request.url or ""
        if before.startswith("https:") and not after.startswith("https:"):
            raise Invalid("it redirects from https to http, which is refused; this is the registry's mistake")
        if self.should_strip_auth(before, after):
            prepared_request.headers.pop("Authorization", None)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """In the place of requests' own, which would put ~/.netrc's password over our token."""
    return request


@functools.cache  # a context takes longer to make than a request
def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return create_context(ca_file)
    except ValueError as error:
        raise Unreachable(f"its ca_file {error}") from None


class _Adapter(HTTPAdapter):
    """Repeats what may pass, honours Retry-After and bounds what is read without being asked for."""

    def __init__(self, session: RegistrySession, ssl_context: ssl.SSLContext | None = None) -> None:
        self._session = session
        self._pool_options: dict[str, Any] = {"ssl_context": ssl_context} if ssl_context else {}
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **options, **self._pool_options)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, **options, **self._pool_options)
        self._watch(manager)
        return manager

    def _watch(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = watched_pools(self._session.deadline)

    def cert_verify(self, *_: Any) -> None:
        """The context knows whom to trust; requests would add certifi's authorities."""

    def send(
        self, request: requests.PreparedRequest, stream: bool = False, *_: Any, **options: Any
    ) -> requests.Response:
        deadline, retry = self._session.deadline, self._session.retry
        proxies = options.get("proxies")
        for attempt in range(retry.retries + 1):
            is_last = attempt == retry.retries
            pause = retry.pause(attempt)
            timeout = (min(retry.connect_time, deadline.left), min(retry.stall_time, deadline.left))
            if deadline.has_passed:
                break
            try:
                response = super().send(request, stream=stream, timeout=timeout, proxies=proxies)
            except requests.exceptions.SSLError:
                raise
            except (requests.exceptions.ConnectionError, requests.exceptions.Timeout):
                if is_last or deadline.left <= pause:
                    raise
            else:
                _bound(response, stream=stream)
                pause = max(pause, _retry_after(response))
                if response.status_code not in _PASSING or is_last or deadline.left <= pause:
                    return response
                response.close()
            self._session.pause(pause)
            if getattr(request, "_body_position", None) is not None:
                rewind_body(request)
        raise requests.exceptions.ReadTimeout(request=request)


def _bound(response: requests.Response, *, stream: bool) -> None:
    """Reads an answer that is no blob or manifest now, up to its bound: requests would read all of it."""
    if response.status_code < 300 and stream:
        return
    limit = _MAX_ANSWER if response.status_code < 300 else _MAX_REFUSAL
    try:
        body = response.raw.read(limit, decode_content=False)
    except Exception:  # noqa: BLE001 - damaged or stalled: what matters is the status
        body = b""
    response.raw.close()
    response.raw = io.BytesIO(body)


def _retry_after(response: requests.Response) -> float:
    """Seconds, from a number or a date (RFC 9110 section 10.2.3)."""
    header = response.headers.get("Retry-After")
    if not header:
        return 0.0
    try:
        return max(0.0, min(MAX_RETRY_AFTER, Retry().parse_retry_after(header)))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0
