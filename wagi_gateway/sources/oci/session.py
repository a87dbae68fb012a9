"""The HTTP session with a registry: bounded time, size, redirects and retries; credentials stay with their host."""

from __future__ import annotations

import functools
import io
import logging
import ssl
import threading
import weakref
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager, ProxyManager
from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

from ...tls import create_context
from .deadline import RegistryDeadline, watched_pools
from .errors import Invalid, Unreachable
from .origin import Origin, is_loopback
from .retry import RetryPolicy

MAX_RETRY_AFTER = 30.0
"""The longest honoured Retry-After, in seconds."""
_MAX_REDIRECTS = 5
_TRANSIENT = {429, 500, 502, 503, 504}
_MAX_RESPONSE = 1 << 20
"""Bytes of a response that is not a blob or manifest: a token, an upload's location."""
_MAX_ERROR = 8 << 10
"""Bytes of an error or redirect."""
_MAX_WRITE = 16 << 10

LOGGERS = (
    "oras.logger",
    "urllib3.connection",
    "urllib3.connectionpool",
    "urllib3.poolmanager",
    "urllib3.response",
    "urllib3.util.retry",
)
"""The loggers of oras and urllib3. A filter does not apply to child loggers, so each is named."""


class RegistrySession(requests.Session):
    """A `requests.Session` for one registry. Raises RegistryError besides the errors of requests.

    While a session is open, urllib3 and oras log nothing: their records hold URLs with signatures, and answers of
    token servers. The errors of this package say what is wrong instead.
    """

    def __init__(self, retry: RetryPolicy, ca_file: Path | None, cancelled: threading.Event | None = None) -> None:
        """`cancelled` ends pauses. Raises Unreachable for an unusable file of certificate authorities."""
        super().__init__()
        self._unmute = weakref.finalize(self, _mute())
        self.retry = retry
        self._cancelled = cancelled or threading.Event()
        self.deadline = RegistryDeadline()
        self.max_redirects = _MAX_REDIRECTS
        self.auth = _no_auth
        # A digest covers the bytes on the wire.
        self.headers.update({"Accept-Encoding": "identity", "User-Agent": "wagi-gateway"})
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.mount("https://", _Adapter(self, _create_context(ca_file)))
        self.mount("http://", _Adapter(self))

    def close(self) -> None:
        """Closes the connections; urllib3 and oras log again."""
        super().close()
        self._unmute()

    def pause(self, seconds: float) -> None:
        """Waits before a repetition. Raises Unreachable once the session is cancelled."""
        if self._cancelled.wait(seconds):
            raise Unreachable("it was given up")

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        data = options.get("data")
        if isinstance(data, bytes) and len(data) > _MAX_WRITE:
            # A file object is sent in pieces: the timeout then bounds each piece, not the whole body.
            options["data"] = io.BytesIO(data)
        return super().request(method, url, **options)

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Removes the `Authorization` header from a redirect to another origin, and refuses one from https to http.

        The rule of requests would keep it from http to https, and add the passwords of ~/.netrc.
        """
        before, after = Origin.of(response.request.url or ""), Origin.of(prepared_request.url or "")
        if before.scheme == "https" != after.scheme:
            raise Invalid("it redirects from https to http, which is refused; this is the registry's mistake")
        if before != after:
            prepared_request.headers.pop("Authorization", None)


def _mute() -> Callable[[], None]:
    """Drops the records of `LOGGERS`, until the returned function is called."""

    def drop(_: logging.LogRecord) -> bool:
        return False

    def unmute() -> None:
        for logger in loggers:
            logger.removeFilter(drop)

    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addFilter(drop)
    return unmute


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An `auth` that changes nothing; the default would replace the token by ~/.netrc's password."""
    return request


@functools.cache  # creating a context takes longer than a request
def _create_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return create_context(ca_file)
    except ValueError as error:
        raise Unreachable(f"its ca_file {error}") from None


class _Adapter(HTTPAdapter):
    """Repeats requests after transient failures, honours Retry-After, and bounds responses that are not streamed."""

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
        """Nothing: the context verifies certificates; requests would add certifi's authorities."""

    def send(
        self, request: requests.PreparedRequest, stream: bool = False, *_: Any, **options: Any
    ) -> requests.Response:
        deadline, retry = self._session.deadline, self._session.retry
        # requests adds cookies of redirects without their policy, and the proxy's password to requests past the proxy.
        for name in ("Cookie", "Proxy-Authorization"):
            request.headers.pop(name, None)
        # Go's net/http and so Docker never use a proxy for a loopback address either.
        proxies = None if is_loopback(Origin.of(request.url or "").host) else options.get("proxies")
        # A refused HEAD is followed by a GET or a POST, which has all retries and half of the time at least.
        is_head = request.method == "HEAD"
        retries = min(retry.retries, 1) if is_head else retry.retries
        for attempt in range(retries + 1):
            is_last = attempt == retries
            pause = retry.pause(attempt)
            stall_time = min(retry.stall_time, deadline.left / 2 if is_head else deadline.left)
            timeout = (min(retry.connect_time, deadline.left), stall_time)
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
                if response.status_code not in _TRANSIENT or is_last or deadline.left <= pause:
                    return response
                response.close()
            self._session.pause(pause)
            if isinstance(request.body, io.IOBase):
                request.body.seek(0)
        raise requests.exceptions.ReadTimeout(request=request)


def _bound(response: requests.Response, *, stream: bool) -> None:
    """Reads a response that is not a blob or manifest, up to its bound; requests would read all of it."""
    if response.status_code < 300 and stream:
        return
    limit = _MAX_RESPONSE if response.status_code < 300 else _MAX_ERROR
    try:
        body = response.raw.read(limit, decode_content=False)
    except Exception:  # noqa: BLE001 - damaged or stalled: the status is enough
        body = b""
    response.raw.close()
    response.raw = io.BytesIO(body)


def _retry_after(response: requests.Response) -> float:
    """The seconds of Retry-After, a number or a date (RFC 9110 section 10.2.3); 0 without one."""
    header = response.headers.get("Retry-After")
    if not header:
        return 0.0
    try:
        return max(0.0, min(MAX_RETRY_AFTER, Retry().parse_retry_after(header)))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0
