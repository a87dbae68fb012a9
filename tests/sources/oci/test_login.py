"""The login: passwords and tokens, which must never appear in a log or an error."""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clock import assert_within
from tests.support.fault_proxy import Answer, Fault, FaultProxy, Received, refusing
from tests.support.registry import PASSWORD, Registry, write_authority
from tests.support.repositories import USER, layer_of, module, own_home, pulled, repository  # noqa: F401
from tests.support.token_server import IDENTITY, TokenServer
from wagi_gateway.sources.oci.endpoint import Credentials
from wagi_gateway.sources.oci.errors import Invalid, RegistryError, Unauthorised, Unreachable

pytestmark = pytest.mark.usefixtures("own_home")
MODULE = module(20)
PULL, PUSH = "repository:team/hello:pull", "repository:team/hello:pull,push"


@pytest.fixture(scope="module")
def hello(registry: Registry) -> Registry:
    """A plain registry with team/hello:1 and team/other:1."""
    for name in ("team/hello:1", "team/other:1"):
        with pytest.MonkeyPatch.context() as environment, repository(registry, name) as own:
            environment.setenv("no_proxy", "*")
            own.push_module(MODULE)
    return registry


@pytest.fixture
def proxy(hello: Registry) -> Iterator[FaultProxy]:
    """A fault proxy in front of the plain registry."""
    with FaultProxy(hello.address) as running:
        yield running


@pytest.fixture
def tokens(proxy: FaultProxy) -> Iterator[TokenServer]:
    """The token server of the proxied registry."""
    tokens = TokenServer()
    with tokens.server:
        tokens.protect(proxy)
        yield tokens


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test if a log record holds a secret."""
    with caplog.at_level(logging.DEBUG):
        yield
    text = "\n".join(record.getMessage() for record in caplog.get_records("call"))
    for secret in (PASSWORD, IDENTITY, "TOKEN-", "SIGNATURE", "NETRC", "SECRET"):
        assert secret not in text


def test_anybody_may_pull(proxy: FaultProxy, tokens: TokenServer) -> None:
    with repository(proxy.address) as own:
        assert pulled(own) == MODULE
    assert tokens.asked == {PULL: 1}
    assert [request.authorization for request in tokens.server.received] == [None]


@pytest.mark.parametrize(
    "credentials", [USER, Credentials(identity_token=IDENTITY)], ids=["password", "identity-token"]
)
def test_a_login_may_push(proxy: FaultProxy, tokens: TokenServer, credentials: Credentials) -> None:
    """A push begins with a HEAD, for which a pull token is enough, and then needs a push token."""
    tokens.is_private = True
    with repository(proxy.address, credentials=credentials) as own:
        own.push_module(module(21), "2")
        assert tokens.asked == {PULL: 1, PUSH: 1}
        assert own.resolve("2")
    assert tokens.asked.total() == 2


def test_a_push_after_a_pull(proxy: FaultProxy, tokens: TokenServer) -> None:
    with repository(proxy.address, credentials=USER) as own:
        assert pulled(own) == MODULE
        own.push_module(module(22), "3")
    assert tokens.asked == {PULL: 1, PUSH: 1}


def test_tokens_are_for_one_repository(proxy: FaultProxy, tokens: TokenServer) -> None:
    for name in ("team/hello:1", "team/other:1"):
        with repository(proxy.address, name) as own:
            assert pulled(own) == MODULE
    assert tokens.asked == {PULL: 1, "repository:team/other:pull": 1}


def test_a_token_that_has_expired(proxy: FaultProxy, tokens: TokenServer) -> None:
    with repository(proxy.address) as own:
        layer_of(own)
        tokens.revoked.update(tokens.issued)
        assert pulled(own) == MODULE
    assert tokens.asked == {PULL: 2}


def test_a_token_that_was_given(proxy: FaultProxy, tokens: TokenServer) -> None:
    tokens.issued["TOKEN-GIVEN"] = PULL
    with repository(proxy.address, credentials=Credentials(registry_token="TOKEN-GIVEN")) as own:
        assert pulled(own) == MODULE
    assert not tokens.asked


@pytest.mark.parametrize(
    ("credentials", "what"),
    [
        (None, "wants a login; `docker login 127"),
        (Credentials(username="user", password="SECRET"), "does not accept the credentials"),
        (Credentials(identity_token="SECRET"), "does not accept the credentials"),
        (Credentials(registry_token="SECRET"), "does not accept the credentials"),
    ],
    ids=["none", "wrong-password", "wrong-identity", "wrong-token"],
)
def test_no_entry(proxy: FaultProxy, tokens: TokenServer, credentials: Credentials | None, what: str) -> None:
    tokens.is_private = True
    own = repository(proxy.address, credentials=credentials, backoff=5)
    with own, pytest.raises(Unauthorised, match=what) as raised:
        pulled(own)
    assert str(raised.value).startswith(f"{proxy.address}/team/hello:1: ")
    assert_secret(raised.value)


def test_docker_hub_is_called_by_its_name() -> None:
    from wagi_gateway.sources.oci.endpoint import RegistryEndpoint
    from wagi_gateway.sources.oci.login import Login
    from wagi_gateway.sources.oci.retry import RetryPolicy
    from wagi_gateway.sources.oci.session import RegistrySession

    with RegistrySession(RetryPolicy(), None) as session:
        advice = Login(RegistryEndpoint("registry-1.docker.io"), session, "library/hello").advice
    assert "`docker login docker.io`" in advice
    assert '[registries."docker.io"]' in advice


def test_a_token_that_is_no_use(proxy: FaultProxy, tokens: TokenServer) -> None:
    """A registry that refuses a new token gets no second login."""
    proxy.fault(lambda _: True, refusing(401))
    tokens.issued["TOKEN-OLD"] = PULL
    own = repository(proxy.address, credentials=Credentials(registry_token="TOKEN-OLD"))
    with own, pytest.raises(Unauthorised):
        own.resolve("1")
    assert len(proxy.received) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "what"),
    [
        (Answer(500), Unreachable, "the token server of 127.* answers 500; try again later"),
        (Answer(404), Unreachable, "the token server of 127.* answers 404; try again later"),
        (Answer(200, {}, b"<html>"), Invalid, "answers without a token"),
        (Answer(200, {}, b"[]"), Invalid, "answers without a token"),
        (Answer(200, {}, b'{"token": ""}'), Invalid, "answers without a token"),
        (Answer(200, {}, b'{"token": 7}'), Invalid, "answers without a token"),
        (Answer(200, {}, b'{"token": "a\\r\\nX-Evil: b"}'), Invalid, "answers without a token"),
        (Answer(200, {}, b"[" * 1_000_000), Invalid, "answers without a token"),
        (Answer(200, {}, json.dumps({"token": "x" * (2 << 20)}).encode()), Invalid, "answers without a token"),
    ],
    ids=["500", "404", "html", "list", "empty", "number", "newline", "deep", "huge"],
)
def test_token_servers_that_are_no_good(proxy: FaultProxy, answer: Answer, kind: type, what: str) -> None:
    with FaultProxy() as server:
        server.fault(lambda _: True, lambda *_: answer)
        proxy.fault(lambda _: True, challenging(f'Bearer realm="{server.url}/token"'))
        with repository(proxy.address, credentials=USER, retries=1) as own, pytest.raises(kind, match=what) as raised:
            own.resolve("1")
    assert_secret(raised.value)


def test_a_busy_token_server(proxy: FaultProxy, tokens: TokenServer) -> None:
    busy = FaultProxy()
    busy.fault(lambda _: True, refusing(429, Retry_After="0"), times=2)
    busy.fault(lambda _: True, lambda request, _proxy: tokens._issue(request))
    with busy, FaultProxy(proxy.upstream) as registry:
        tokens.protect(registry, f"{busy.url}/token")
        with repository(registry.address) as own:
            assert pulled(own) == MODULE
        assert len(busy.received) == 3


def test_a_token_server_that_is_down(proxy: FaultProxy) -> None:
    proxy.fault(lambda _: True, challenging('Bearer realm="http://127.0.0.1:1/token?x=SECRET"'))
    with (
        repository(proxy.address, retries=0) as own,
        pytest.raises(Unreachable, match=r"token server 127\.0\.0\.1 of 127.* cannot be reached") as raised,
    ):
        own.resolve("1")
    assert_secret(raised.value)


def challenging(header: str) -> Fault:
    return refusing(401, WWW_Authenticate=header)


@pytest.mark.parametrize(
    ("header", "kind", "what"),
    [
        ("", Unauthorised, "a login of another kind .* nothing that it names"),
        ("Negotiate", Unauthorised, "a login of another kind .* negotiate"),
        ("Bearer", Invalid, "names no token server"),
        ('Bearer realm="test"', Invalid, "names no token server"),
        ('Bearer realm="file:///etc/passwd"', Invalid, "names no token server"),
        ('Bearer realm="https://"', Invalid, "names no token server"),
        ('Bearer realm="http://[::1"', Invalid, "names no token server"),
    ],
)
def test_challenges_without_an_answer(proxy: FaultProxy, header: str, kind: type, what: str) -> None:
    proxy.fault(lambda _: True, challenging(header))
    with repository(proxy.address, credentials=USER) as own, pytest.raises(kind, match=what) as raised:
        own.resolve("1")
    assert len(proxy.received) == 1
    assert_secret(raised.value)


def test_a_challenge_that_is_too_long(proxy: FaultProxy) -> None:
    proxy.fault(lambda _: True, challenging("1" * 60_000))
    start = time.monotonic()
    what = "says in 60000 bytes what login it wants; 8192 are allowed"
    with repository(proxy.address) as own, pytest.raises(Invalid, match=what):
        own.resolve("1")
    assert_within(time.monotonic() - start, 0.5)


def test_a_password_is_for_https(tmp_path: Path) -> None:
    """A token server without TLS gets no password from a registry with TLS."""
    ca_file = write_authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    with FaultProxy() as server, FaultProxy(tls=context) as registry:
        registry.fault(lambda _: True, challenging(f'Bearer realm="{server.url}/token"'))
        own = repository(registry.address, credentials=USER, ca_file=ca_file)
        with own, pytest.raises(Invalid, match=r"the token server of 127.* speaks plain HTTP, where a password"):
            own.resolve("1")
    assert not server.received


def test_an_identity_token_is_not_redirected(proxy: FaultProxy) -> None:
    with FaultProxy() as elsewhere, FaultProxy() as server:
        server.fault(lambda _: True, refusing(307, Location=f"{elsewhere.url}/token"))
        proxy.fault(lambda _: True, challenging(f'Bearer realm="{server.url}/token"'))
        own = repository(proxy.address, credentials=Credentials(identity_token=IDENTITY))
        with own, pytest.raises(RegistryError, match="answers 307"):
            own.resolve("1")
    assert not elsewhere.received


def test_a_password_is_not_redirected(proxy: FaultProxy) -> None:
    with FaultProxy() as elsewhere, FaultProxy() as server:
        elsewhere.fault(lambda _: True, lambda *_: Answer(200, {}, b'{"token": "TOKEN-ELSEWHERE"}'))
        server.fault(lambda _: True, refusing(307, Location=f"{elsewhere.url}/token"))
        proxy.fault(lambda request: not request.authorization, challenging(f'Bearer realm="{server.url}/token"'))
        with repository(proxy.address, credentials=USER) as own:
            assert pulled(own) == MODULE
    assert [each.authorization for each in elsewhere.received] == [None]


def authenticating(request: Received, _: FaultProxy) -> Answer | None:
    """A registry with Basic authentication; the proxied request has none."""
    if not request.authorization:
        return Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})
    request.headers.pop("authorization")
    return None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_blobs_elsewhere(proxy: FaultProxy, host: str) -> None:
    """Another port is another origin; ~/.netrc is not used either."""
    seen: list[str | None] = []
    with FaultProxy() as storage:
        storage.fault(lambda _: True, lambda *_: Answer(200, {}, MODULE))
        target = storage.url.replace("127.0.0.1", host)

        def redirect(request: Received, _proxy: FaultProxy) -> Answer | None:
            seen.append(request.authorization)
            return Answer(307, {"Location": f"{target}/blob?signature=SIGNATURE"}) if request.is_blob else None

        proxy.fault(lambda request: bool(request.authorization), redirect)
        proxy.fault(lambda _: True, authenticating)
        with repository(proxy.address, credentials=USER) as own:
            assert pulled(own) == MODULE
    assert len(seen) == 2
    assert all(header and header.startswith("Basic ") for header in seen)
    assert [(each.path, each.authorization) for each in storage.received] == [("/blob?signature=SIGNATURE", None)]


def test_uploads_elsewhere(proxy: FaultProxy) -> None:
    with FaultProxy() as storage:
        storage.fault(lambda _: True, lambda *_: Answer(201))
        proxy.fault(lambda _: True, authenticating, times=1)
        proxy.fault(
            lambda request: request.method == "POST",
            lambda *_: Answer(202, {"Location": f"{storage.url}/upload?signature=SIGNATURE"}),
        )
        proxy.fault(lambda request: request.method == "PUT", lambda *_: Answer(201))
        proxy.fault(lambda request: request.method == "HEAD", lambda *_: Answer(404))
        with repository(proxy.address, credentials=USER) as own:
            own.push_module(MODULE)
    assert [each.method for each in storage.received] == ["PUT", "PUT"]
    assert storage.received[0].body == MODULE
    assert all(each.authorization is None for each in storage.received)


def test_a_storage_that_fails_is_not_named_with_its_signature(proxy: FaultProxy) -> None:
    target = "http://user:SECRET@127.0.0.1:1/blob?signature=SIGNATURE"
    proxy.fault(lambda request: request.is_blob, refusing(307, Location=target))
    what = f"127.0.0.1:1, where {proxy.address} redirects to, cannot be reached: Connection refused"
    with repository(proxy.address, retries=0) as own, pytest.raises(Unreachable, match=what) as raised:
        pulled(own)
    assert_secret(raised.value)


def test_a_storage_that_speaks_nonsense(proxy: FaultProxy, caplog: pytest.LogCaptureFixture) -> None:
    """urllib3 would log the URL."""
    caplog.set_level(logging.DEBUG)
    with FaultProxy() as storage:
        storage.fault(lambda _: True, lambda *_: Answer(200, {"X\r\nnonsense": "x"}, iter([MODULE])))
        proxy.fault(lambda request: request.is_blob, refusing(307, Location=f"{storage.url}/blob?signature=SIGNATURE"))
        with repository(proxy.address) as own:
            assert pulled(own) == MODULE
    assert storage.received[0].path.endswith("SIGNATURE")
    assert "SIGNATURE" not in caplog.text


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_a_registry_that_sends_back_what_it_got(proxy: FaultProxy, status: int) -> None:
    """A registry's message that repeats the credentials is redacted in the error."""

    def echo(request: Received, _proxy: FaultProxy) -> Answer:
        if not request.authorization:
            return Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})
        message = f"you said {request.authorization}"
        return Answer(status, {}, json.dumps({"errors": [{"code": "X", "message": message}]}).encode())

    proxy.fault(lambda _: True, echo)
    with repository(proxy.address, credentials=USER, retries=0) as own, pytest.raises(RegistryError) as raised:
        own.resolve("1")
    assert_secret(raised.value)


def assert_secret(error: BaseException) -> None:
    """Asserts that an error and its causes hold no secret."""
    import traceback

    text = "".join(traceback.format_exception(error)) + repr(error)
    password = "dXNlcjpjb3JyZWN0IGhvcnNl"  # in Base64, as it is sent
    for secret in (PASSWORD, password, IDENTITY, "TOKEN-", "SIGNATURE", "NETRC", "SECRET", "DOCKER"):
        assert secret not in text
