"""oras's registry client, on RegistrySession and Login, with its errors as RegistryError."""

from __future__ import annotations

import errno
import io
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, quote_plus, urljoin, urlsplit

import oras.container
import oras.provider
import requests
from urllib3.exceptions import HTTPError, NewConnectionError

from .endpoint import RegistryEndpoint
from .errors import ImageNotFound, Invalid, RegistryError, Unauthorised, Unreachable
from .login import Login
from .origin import Origin
from .retry import RetryPolicy
from .session import RegistrySession

_MAX_MESSAGE = 200


class OrasClient(oras.provider.Registry):  # type: ignore[misc]  # oras has no types
    """The HTTP client of one repository, because a bearer token is valid for one repository's scope.

    oras builds URLs and uploads blobs; it sends each request with `do_request`, which is replaced here together with
    the login. oras's own retries for 131 s after a wrong password and not at all after 503.
    """

    def __init__(
        self,
        endpoint: RegistryEndpoint,
        repository: str,
        where: str,
        retry: RetryPolicy,
        cancelled: threading.Event | None = None,
    ) -> None:
        """`where` begins each error; `cancelled` ends pauses. Raises Unreachable for an unusable `endpoint.ca_file`."""
        super().__init__(hostname=endpoint.host, insecure=endpoint.is_plain)
        self.endpoint = endpoint
        self.where = where
        try:
            self.session: RegistrySession = RegistrySession(retry, endpoint.ca_file, cancelled)
        except RegistryError as error:
            raise error.at(where) from None
        self._login = Login(endpoint, self.session, repository)
        # Set, not parsed: oras reads "localhost/hello" as a repository of Docker Hub.
        self.container = oras.container.Container("x", registry=endpoint.host)
        self.container.namespace, self.container.repository = None, repository

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: Any = None,
        headers: Any = None,
        json: Any = None,
        stream: bool = False,
    ) -> requests.Response:
        """Sends a request; returns a response below 400, or to HEAD any response but 429. Raises RegistryError.

        A registry that refuses HEAD, closes the connection on it, or leaves it unanswered, may answer a GET.
        """
        options = {"data": data, "json": json, "stream": stream, "headers": _without_authorization(headers)}
        try:
            self._refuse_downgrade(url)
            response = self._send(method, url, **options)
        except requests.exceptions.RequestException as error:
            if method == "HEAD" and _is_hang_up(error) and not self.session.deadline.has_passed:
                return _refused_head()
            raise Unreachable(self._explain(error), self.where) from None  # the error's text may hold a signed URL
        except RegistryError as error:
            raise error.at(self.where) from None
        except (ValueError, HTTPError):  # from requests and urllib3, for a malformed Location
            what = f"{self.endpoint.host} answers or redirects in a way that cannot be understood; check the registry"
            raise Invalid(what, self.where) from None
        if response.status_code < 400 or (method == "HEAD" and response.status_code != 429):
            return response
        with response:
            raise self._refusal(response, method)

    def _send(self, method: str, url: str, **options: Any) -> requests.Response:
        """Sends a request, and once more after a login if the registry itself answers 401 with a challenge."""
        response = self.session.request(method, url, auth=self._login.authorization, **options)
        if response.status_code == 401 and self._is_own(response):
            try:
                self._login.answer_challenge(response)
            except (Unauthorised, Invalid):
                if method == "HEAD":  # GET may need no login, or another one
                    return response
                raise
            response = self.session.request(method, url, auth=self._login.authorization, **options)
        if location := response.headers.get("Location"):  # oras takes a Location without a scheme for an absolute path
            response.headers["Location"] = urljoin(response.url, location)
        return response

    def _is_own(self, response: requests.Response) -> bool:
        """Whether a response comes from the registry's own origin, without a redirect over another origin."""
        return all(Origin.of(each.url) == self._login.origin for each in (*response.history, response))

    def _refuse_downgrade(self, url: str) -> None:
        if self._login.origin.scheme == "https" != Origin.of(url).scheme:
            what = "it sends an upload from https to http, which is refused; tell the registry its public URL"
            raise Invalid(what, self.where)

    def _explain(self, error: requests.exceptions.RequestException) -> str:
        """What went wrong with a connection, and what to do about it."""
        deadline, retry = self.session.deadline, self.session.retry
        host = self._target(error)
        if deadline.has_passed:
            return f"{host} took longer than the {deadline.seconds:g} s it has; try again, or look for a mirror"
        if isinstance(error, requests.exceptions.TooManyRedirects):
            return f"{host} redirects too often; this is the registry's mistake"
        if isinstance(error, requests.exceptions.ProxyError):
            return f"the proxy for {host} cannot be used; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
        is_connecting = isinstance(error, requests.exceptions.ConnectTimeout)
        causes = list(_causes(error))
        return (
            _explain_tls(causes, host, f'[registries."{self.endpoint.host}"]')
            or _explain_network(causes, host, retry.connect_time if is_connecting else retry.stall_time)
            or f"the connection to {host} was lost; try again"
        )

    def _target(self, error: requests.exceptions.RequestException) -> str:
        """The host of a failed request in messages."""
        return self._host(getattr(error.request, "url", None) or f"{self.prefix}://{self.endpoint.host}")

    def _host(self, url: str) -> str:
        """The host of a URL in messages: the registry, or the target of a redirect."""
        target = urlsplit(url).netloc.rpartition("@")[2]
        if target == self.endpoint.host:
            return target
        return f"{target}, where {self.endpoint.host} redirects to,"

    def _refusal(self, response: requests.Response, method: str) -> RegistryError:
        host, status = self._host(response.url), response.status_code
        message = self._message(response)
        if status == 401 and not self._is_own(response):
            what = f"{host} wants a login of its own ({message}), and gets none; check the registry"
            return Unauthorised(what, self.where)
        if status == 401:
            return Unauthorised(self._login.advice, self.where)
        if status == 403:
            what = f"{host} denies access ({message}); the account needs the right to read the repository"
            return Unauthorised(what if method in ("GET", "HEAD") else f"{what} and to write to it", self.where)
        if status == 404:
            hint = "; a private repository may look like this without a login" if not self.endpoint.credentials else ""
            return ImageNotFound(
                f"{host} does not have it ({message}); check repository and tag or digest{hint}", self.where
            )
        if status == 429 or status >= 500:
            return Unreachable(f"{host} answers {message}; try again later", self.where)
        if status == 400 and self.endpoint.is_plain and method != "PUT":  # a TLS server's answer to plain HTTP
            return Unreachable(
                f'{host} speaks TLS; set insecure = false in [registries."{host}"], and its ca_file', self.where
            )
        hint = ""
        if method == "PUT" and "MANIFEST_INVALID" in message:
            hint = "; a registry that does not know the media types of the CNCF may take the form wasm-to-oci"
        return Invalid(f"{host} refuses the request: {message}{hint}", self.where)

    def _message(self, response: requests.Response) -> str:
        """The status and the registry's error message, without credentials that the registry repeats."""
        try:
            text = ", ".join(f"{each['code']}: {each['message']}" for each in json.loads(response.content)["errors"])
        except Exception:  # noqa: BLE001 - not the JSON of the distribution specification: the status is enough
            # The plain text of Go's HTTP server on a TLS port.
            text = "HTTP request to an HTTPS server" if b"to an HTTPS server" in response.content else ""
        for secret in sorted(self._login.secrets, key=len, reverse=True):  # one may be a part of another
            for form in (secret, *_percent_encoded(secret)):
                text = text.replace(form, "…")
        text = "".join(character if character.isprintable() else " " for character in text)[:_MAX_MESSAGE]
        try:
            status = f"{response.status_code} {HTTPStatus(response.status_code).phrase}"
        except ValueError:
            status = str(response.status_code)
        return f"{status}, {text}" if text else status


_WRONG_NAME, _WRONG_ADDRESS = 62, 64
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


def _explain_tls(causes: list[BaseException], host: str, table: str) -> str | None:
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            what = f"the certificate of {host} is not trusted: {cause.verify_message}"
            if cause.verify_code in (_WRONG_NAME, _WRONG_ADDRESS):
                return f"{what}; use the name that it is for"
            return f"{what}; name the file of its authority as ca_file in {table}"
        if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
            return f"{host} does not speak TLS; if it speaks plain HTTP, set insecure = true in {table}"
        if isinstance(cause, ssl.SSLError):
            return f"there is no TLS connection to {host}: {cause.reason or 'the connection ended'}"
    return None


def _explain_network(causes: list[BaseException], host: str, timeout: float) -> str | None:
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return f"{host} cannot be found: {cause.strerror}; check its name"
        if isinstance(cause, (TimeoutError, requests.exceptions.Timeout)):
            return f"{host} did not answer within {timeout:g} s; check the network, try again"
        if isinstance(cause, OSError) and cause.errno in errno.errorcode:
            return f"{host} cannot be reached: {cause.strerror}; check its name and that it runs"
    return None


def _percent_encoded(secret: str) -> tuple[str, str]:
    """A secret as it stands in a path and in a query or form, which a registry may repeat."""
    return quote(secret, safe="", errors="surrogateescape"), quote_plus(secret, errors="surrogateescape")


def _without_authorization(headers: Any) -> dict[str, str]:
    return {name: value for name, value in (headers or {}).items() if name.lower() != "authorization"}


def _is_hang_up(error: requests.exceptions.RequestException) -> bool:
    """Whether a connection was made, and closed or left without a response."""
    other = (
        requests.exceptions.ConnectTimeout,
        requests.exceptions.ProxyError,
        requests.exceptions.SSLError,
        NewConnectionError,
    )
    kinds = (requests.exceptions.ConnectionError, requests.exceptions.ReadTimeout)
    return isinstance(error, kinds) and not any(isinstance(cause, other) for cause in _causes(error))


def _refused_head() -> requests.Response:
    response = requests.Response()
    response.status_code, response.raw = HTTPStatus.METHOD_NOT_ALLOWED, io.BytesIO()
    return response


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes: urllib3 and requests keep them in `args`, `reason` and the context."""
    seen: set[int] = set()
    left: list[object] = [error]
    while left:
        each = left.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        left += [getattr(each, "reason", None), *each.args, each.__cause__, each.__context__]
