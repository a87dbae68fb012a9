"""The messages for a registry's errors and for connections that fail, and where a token goes."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
import requests
from requests.adapters import HTTPAdapter

from wagi_gateway.sources.oci.endpoint import Credentials, RegistryEndpoint
from wagi_gateway.sources.oci.errors import ImageNotFound, Invalid, RegistryError, Unauthorised, Unreachable
from wagi_gateway.sources.oci.oras_client import OrasClient
from wagi_gateway.sources.oci.retry import RetryPolicy

URL = "https://registry.test/v2/team/hello/manifests/1"
WHERE = "registry.test/team/hello:1"
TOKEN = Credentials(registry_token="TOKEN")

Send = Callable[[requests.PreparedRequest], requests.Response]


class Transport(HTTPAdapter):
    """Answers requests without a network, and records them."""

    def __init__(self, answer: Send) -> None:
        super().__init__()
        self.sent: list[requests.PreparedRequest] = []
        self._answer = answer

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        self.sent.append(request)
        response = self._answer(request)
        response.request, response.url = request, request.url or ""
        return response


class Connect(Protocol):
    def __call__(
        self, answer: Send, credentials: Credentials | None = None, *, is_plain: bool = False
    ) -> tuple[OrasClient, Transport]:
        """A client whose requests are answered by a function."""


@pytest.fixture
def client() -> Iterator[Connect]:
    """Creates clients, which are closed after the test."""
    with contextlib.ExitStack() as stack:

        def connect(
            answer: Send, credentials: Credentials | None = None, *, is_plain: bool = False
        ) -> tuple[OrasClient, Transport]:
            endpoint = RegistryEndpoint("registry.test", is_plain=is_plain, credentials=credentials)
            own, transport = OrasClient(endpoint, "team/hello", WHERE, RetryPolicy()), Transport(answer)
            stack.callback(own.session.close)
            own.session.mount("http://", transport)
            own.session.mount("https://", transport)
            return own, transport

        yield connect


def answering(status: int, body: bytes = b"", **headers: str) -> Send:
    """The same response to all requests."""

    def answer(_: requests.PreparedRequest) -> requests.Response:
        response = requests.Response()
        response.status_code, response._content = status, body
        response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        return response

    return answer


def failing(error: Exception, *causes: BaseException) -> Send:
    """An error with its causes, as requests and urllib3 nest them."""

    def answer(request: requests.PreparedRequest) -> requests.Response:
        error.request = request  # type: ignore[attr-defined]
        inner: BaseException = error
        for cause in causes:
            inner.args = (cause,)
            inner = cause
        raise error

    return answer


def certificate_error(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, message
    return error


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError()
    error.reason = reason
    return error


TABLE = r'\[registries."registry\.test"\]'
FAILURES: dict[str, tuple[Send, str]] = {
    "redirects": (failing(requests.exceptions.TooManyRedirects()), "redirects too often"),
    "proxy": (
        failing(requests.exceptions.ProxyError()),
        "the proxy for registry.test cannot be used; check HTTPS_PROXY",
    ),
    "name of the certificate": (
        failing(requests.exceptions.SSLError(), certificate_error(62, "Hostname mismatch")),
        "the certificate of registry.test is not trusted: Hostname mismatch; use the name that it is for",
    ),
    "authority": (
        failing(requests.exceptions.SSLError(), certificate_error(20, "unable to get local issuer")),
        f"is not trusted: unable to get local issuer; name the file of its authority as ca_file in {TABLE}",
    ),
    "plain HTTP": (
        failing(requests.exceptions.SSLError(), tls_error("WRONG_VERSION_NUMBER")),
        f"does not speak TLS; if it speaks plain HTTP, set insecure = true in {TABLE}",
    ),
    "TLS": (
        failing(requests.exceptions.SSLError(), tls_error("TLSV1_ALERT_INTERNAL_ERROR")),
        "there is no TLS connection to registry.test: TLSV1_ALERT_INTERNAL_ERROR",
    ),
    "name": (
        failing(requests.exceptions.ConnectionError(), socket.gaierror(-2, "Name or service not known")),
        "registry.test cannot be found: Name or service not known; check its name",
    ),
    "connecting": (failing(requests.exceptions.ConnectTimeout()), "did not answer within 10 s"),
    "reading": (failing(requests.exceptions.ReadTimeout()), "did not answer within 30 s"),
    "refused": (
        failing(requests.exceptions.ConnectionError(), ConnectionRefusedError(111, "Connection refused")),
        "registry.test cannot be reached: Connection refused; check its name and that it runs",
    ),
    "lost": (failing(requests.exceptions.ConnectionError()), "the connection to registry.test was lost; try again"),
}


@pytest.mark.parametrize(("answer", "message"), FAILURES.values(), ids=FAILURES)
def test_a_failed_connection_is_explained(client: Connect, answer: Send, message: str) -> None:
    with pytest.raises(Unreachable, match=message) as raised:
        client(answer)[0].do_request(URL)
    assert raised.value.where == WHERE


ERROR = b'{"errors": [{"code": "DENIED", "message": "said TOKEN\\u0000 to you"}]}'
REFUSALS: dict[str, tuple[Send, str, type[RegistryError], str]] = {
    "403": (answering(403, ERROR), "GET", Unauthorised, r"denies access \(403 Forbidden, DENIED: said …  to you\)"),
    "403 to a push": (answering(403), "PUT", Unauthorised, "the right to read the repository and to write to it"),
    "404": (answering(404), "GET", ImageNotFound, r"does not have it \(404 Not Found\); check repository and tag"),
    "405": (answering(405), "GET", Invalid, "refuses the request: 405 Method Not Allowed"),
    "429": (answering(429), "GET", Unreachable, "429 Too Many Requests; try again later"),
    "500": (answering(500, b"[]"), "GET", Unreachable, "500 Internal Server Error; try again later"),
    "599": (answering(599), "GET", Unreachable, "answers 599; try again later"),
    "manifest": (
        answering(400, b'{"errors": [{"code": "MANIFEST_INVALID", "message": "x"}]}'),
        "PUT",
        Invalid,
        "may take the form wasm-to-oci",
    ),
}


@pytest.mark.parametrize(("answer", "method", "kind", "message"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_explained(
    client: Connect, answer: Send, method: str, kind: type[RegistryError], message: str
) -> None:
    own, transport = client(answer, TOKEN)
    with pytest.raises(kind, match=message) as raised:
        own.do_request(URL, method)
    assert "TOKEN" not in str(raised.value)
    assert len(transport.sent) == 1


@pytest.mark.parametrize(
    "repeated",
    [
        "a pw/ +\udce9",
        "a%20pw%2F%20%2B%E9",
        "a+pw%2F+%2B%E9",
        "https://user:x@storage.test/blob?signature=a",
        "dXNlcjphIHB3LyAr6Q==",
    ],
)
def test_no_form_of_a_secret_that_a_registry_repeats_is_shown(client: Connect, repeated: str) -> None:
    user = Credentials("user", "a pw/ +\udce9")
    body = json.dumps({"errors": [{"code": "DENIED", "message": f"<{repeated}>"}]}).encode()
    with pytest.raises(Unauthorised) as raised:
        client(answering(403, body), user)[0].do_request(URL)
    assert "pw" not in str(raised.value)
    assert "signature" not in str(raised.value)
    assert "…" in str(raised.value)


def test_a_secret_that_is_a_part_of_another_one_shows_nothing_of_it(client: Connect) -> None:
    body = b'{"errors": [{"code": "DENIED", "message": "TOKEN-AND-PASSWORD-MORE"}]}'
    own, _ = client(answering(403, body), Credentials(registry_token="TOKEN-AND-PASSWORD-MORE"))
    own._login.secrets.insert(0, "PASSWORD")
    with pytest.raises(Unauthorised, match=r"DENIED: …\)"):
        own.do_request(URL)


def test_plain_http_to_a_tls_port_is_explained(client: Connect) -> None:
    body = b"Client sent an HTTP request to an HTTPS server."
    with pytest.raises(Unreachable, match=r"registry\.test speaks TLS; set insecure = false"):
        client(answering(400, body), is_plain=True)[0].do_request(URL.replace("https", "http"))


@pytest.mark.parametrize("status", [200, 202, 404, 405])
def test_what_is_missing_is_no_error_of_head(client: Connect, status: int) -> None:
    assert client(answering(status))[0].do_request(URL, "HEAD").status_code == status


def test_a_request_is_sent_again_once_after_a_login(client: Connect) -> None:
    user = Credentials("user", "pass")
    own, transport = client(answering(401, WWW_Authenticate='Basic realm="x"'), user)
    with pytest.raises(Unauthorised, match="does not accept the credentials"):
        own.do_request(URL, headers={"Accept": "text/x"})
    assert [sent.headers.get("Authorization") for sent in transport.sent] == [None, "Basic dXNlcjpwYXNz"]
    assert [sent.headers["Accept"] for sent in transport.sent] == ["text/x", "text/x"]


@pytest.mark.parametrize(
    ("url", "authorization"),
    [
        (URL, "Bearer TOKEN"),
        ("https://registry.test:443/upload", "Bearer TOKEN"),
        ("https://registry.test:444/upload", None),
        ("https://storage.test/upload", None),
    ],
    ids=["own", "default-port", "other-port", "other-host"],
)
def test_a_token_is_for_its_origin(client: Connect, url: str, authorization: str | None) -> None:
    own, transport = client(answering(200), TOKEN)
    own.do_request(url, "PUT", b"x", {"X-Own": "1", "Authorization": "Bearer OTHER"})
    (sent,) = transport.sent
    assert sent.headers.get("Authorization") == authorization
    assert sent.headers["X-Own"] == "1"


def test_an_upload_does_not_leave_tls(client: Connect) -> None:
    own, transport = client(answering(200), TOKEN)
    with pytest.raises(Invalid, match="sends an upload from https to http"):
        own.do_request("http://registry.test/upload", "PUT", b"x")
    assert transport.sent == []
