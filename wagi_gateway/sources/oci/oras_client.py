"""oras's client with our session and our login, and its errors in our words.

What oras does well is used: the URLs, the order of requests (ask, log in, ask again) and uploads. What it leaves out is
added in front of it: time-outs, bounded retries, verification, tokens by scope.
"""

from __future__ import annotations

import errno
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import oras.container
import oras.provider
import requests
from urllib3.exceptions import HTTPError

from .endpoint import RegistryEndpoint
from .errors import ImageNotFound, Invalid, RegistryError, Unauthorised, Unreachable
from .login import Denied, Login
from .retry import RetryPolicy
from .session import RegistrySession

_MAX_MESSAGE = 200


class OrasClient(oras.provider.Registry):  # type: ignore[misc]  # oras has no types
    """Speaks for one repository, so that oras's one token is a token for that repository's scope."""

    def __init__(
        self,
        access: RegistryEndpoint,
        repository: str,
        where: str,
        retry: RetryPolicy,
        over: threading.Event | None = None,
    ) -> None:
        """`over` ends pauses. Raises Unreachable if `access.ca_file` cannot be used."""
        super().__init__(hostname=access.host, insecure=access.is_plain)
        self.access = access
        self.where = where
        try:
            self.session: RegistrySession = RegistrySession(retry, access.ca_file, over)
        except RegistryError as error:
            raise error.at(where) from None
        self.auth: Login = Login(access, self.session, repository)
        # Not parsed by oras, which reads "localhost/hello" as Docker Hub's.
        self.container = oras.container.Container("x", registry=access.host)
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
        """An answer below 400, or 404 to HEAD. Raises RegistryError.

        oras's own without its retries, which wait 131 s for a wrong password and not at all for 503.
        """
        try:
            if self._is_ours(url):
                plain = oras.provider.Registry.do_request.__wrapped__
                response: requests.Response = plain(self, url, method, data, dict(headers or {}), json, stream)
            else:  # an upload that goes to storage elsewhere, to which our token is none of its business
                response = self.session.request(method, url, data=data, headers=_foreign(headers), stream=stream)
        except requests.exceptions.RequestException as error:
            raise Unreachable(self._why(error), self.where) from None  # its text may hold a signed URL
        except RegistryError as error:
            raise error.at(self.where) from None
        except (ValueError, HTTPError):  # requests and urllib3, of a redirect or an upload to what is no URL
            what = f"{self.access.host} answers or redirects in a way that cannot be understood; check the registry"
            raise Invalid(what, self.where) from None
        except Denied as denied:
            response = denied.response
        if response.status_code < 400 or (method == "HEAD" and response.status_code in (404, 405)):
            return response
        with response:
            raise self._refusal(response, method)

    def _is_ours(self, url: str) -> bool:
        ours, theirs = _origin(f"{self.prefix}://{self.access.host}"), _origin(url)
        if ours[0] == "https" != theirs[0]:
            what = "it sends an upload from https to http, which is refused; tell the registry its public URL"
            raise Invalid(what, self.where)
        return ours == theirs

    def _why(self, error: requests.exceptions.RequestException) -> str:
        deadline, retry = self.session.deadline, self.session.retry
        table = f'[registries."{self.access.host}"]'
        host = self._asked(error)
        if deadline.has_passed:
            return f"{host} took longer than the {deadline.seconds:g} s it has; try again, or look for a mirror"
        if isinstance(error, requests.exceptions.TooManyRedirects):
            return f"{host} redirects too often; this is the registry's mistake"
        if isinstance(error, requests.exceptions.ProxyError):
            return f"the proxy for {host} cannot be used; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
        causes = list(_causes(error))
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
        for cause in causes:
            if isinstance(cause, socket.gaierror):
                return f"{host} cannot be found: {cause.strerror}; check its name"
            if isinstance(cause, (TimeoutError, requests.exceptions.Timeout)):
                allowed = retry.connect_time if isinstance(error, _CONNECTING) else retry.stall_time
                return f"{host} did not answer within {allowed:g} s; check the network, try again"
            if isinstance(cause, OSError) and cause.errno in errno.errorcode:
                return f"{host} cannot be reached: {cause.strerror}; check its name and that it runs"
        return f"the connection to {host} was lost; try again"

    def _asked(self, error: requests.exceptions.RequestException) -> str:
        """Who did not answer: the registry, or whom it sent us to."""
        url = getattr(error.request, "url", None) or f"{self.prefix}://{self.access.host}"
        target = urlsplit(url).netloc.rpartition("@")[2]
        if target == self.access.host:
            return target
        return f"{target}, where {self.access.host} redirects to,"

    def _refusal(self, response: requests.Response, method: str) -> RegistryError:
        host, status = self.access.host, response.status_code
        message = self._message(response)
        if status == 401:
            return Unauthorised(self.auth.advice, self.where)
        if status == 403:
            what = f"{host} denies access ({message}); the account needs the right to read the repository"
            return Unauthorised(what if method in ("GET", "HEAD") else f"{what} and to write to it", self.where)
        if status == 404:
            hint = "; a private repository may look like this without a login" if not self.access.credentials else ""
            return ImageNotFound(
                f"{host} does not have it ({message}); check repository and tag or digest{hint}", self.where
            )
        if status == 429 or status >= 500:
            return Unreachable(f"{host} answers {message}; try again later", self.where)
        if status == 400 and self.access.is_plain and method != "PUT":  # what servers of TLS say to HTTP
            return Unreachable(
                f'{host} speaks TLS; set insecure = false in [registries."{host}"], and its ca_file', self.where
            )
        hint = ""
        if method == "PUT" and "MANIFEST_INVALID" in message:
            hint = "; a registry that does not know the media types of the CNCF may take the form wasm-to-oci"
        return Invalid(f"{host} refuses the request: {message}{hint}", self.where)

    def _message(self, response: requests.Response) -> str:
        """Status and what the registry says about it, without what it might have sent back of ours."""
        try:
            text = ", ".join(f"{each['code']}: {each['message']}" for each in json.loads(response.content)["errors"])
        except Exception:  # noqa: BLE001 - whatever a server sends here; the status says enough
            # Go's HTTP server says this on a TLS port, in plain text.
            text = "HTTP request to an HTTPS server" if b"to an HTTPS server" in response.content else ""
        for secret in self.auth.secrets:
            text = text.replace(secret, "…")
        text = "".join(character if character.isprintable() else " " for character in text)[:_MAX_MESSAGE]
        try:
            status = f"{response.status_code} {HTTPStatus(response.status_code).phrase}"
        except ValueError:
            status = str(response.status_code)
        return f"{status}, {text}" if text else status


_WRONG_NAME, _WRONG_ADDRESS = 62, 64
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_CONNECTING = requests.exceptions.ConnectTimeout


def _foreign(headers: Any) -> dict[str, str]:
    return {name: value for name, value in (headers or {}).items() if name.lower() != "authorization"}


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything it was made from: urllib3 and requests wrap in `args`, `reason` and the context."""
    seen: set[int] = set()
    left: list[object] = [error]
    while left:
        each = left.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        left += [getattr(each, "reason", None), *each.args, each.__cause__, each.__context__]
