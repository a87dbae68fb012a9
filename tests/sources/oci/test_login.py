"""The login: passwords and tokens, which must never appear in a log or an error."""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.clock import assert_within
from tests.support.fault_proxy import Answer, Fault, FaultProxy, Received, redirected, refusing
from tests.support.own_address import own_address
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


def test_a_wrong_password_is_sent_once(proxy: FaultProxy, tokens: TokenServer) -> None:
    """A push begins with a HEAD, whose refusal is no error of the push."""
    tokens.is_private = True
    with repository(proxy.address, credentials=Credentials("user", "SECRET")) as own:
        with pytest.raises(Unauthorised, match="does not accept the credentials"):
            own.push_module(MODULE, "5")
        with pytest.raises(Unauthorised, match="does not accept the credentials"):
            own.digest_of("1")
    assert len(tokens.server.received) == 1


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
        ('Bearer realm="/token"', Invalid, "names no token server"),
        ('Bearer realm="//127.0.0.1/token"', Invalid, "names no token server"),
        ('Bearer realm="http://127.0.0.1:99999/token"', Invalid, "names no token server"),
        ('Bearer realm="http://user:SECRET@127.0.0.1/token"', Invalid, "names no token server"),
        ('Bearer realm="http://user@127.0.0.1/token"', Invalid, "names no token server"),
        (r'Bearer realm="http://192.0.2.9\\@127.0.0.1/token"', Invalid, "speaks plain HTTP"),
        ('Bearer realm="http://127.0.0.1.192.0.2.9.nip.example/token"', Invalid, "speaks plain HTTP"),
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


LOGINS = {
    "password": USER,
    "identity token": Credentials(identity_token=IDENTITY),
    "registry token": Credentials(registry_token="TOKEN-GIVEN"),
}
every_login = pytest.mark.parametrize("credentials", LOGINS.values(), ids=LOGINS)


@every_login
@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_a_challenge_after_a_redirect(proxy: FaultProxy, credentials: Credentials, scheme: str) -> None:
    with FaultProxy() as storage, FaultProxy() as third:
        storage.fault(lambda _: True, challenging(f'{scheme} realm="{third.url}/token"'))
        proxy.fault(lambda request: request.is_manifest, redirected(storage.url))
        what = f"{storage.address}, where {proxy.address} redirects to, wants a login of its own"
        with (
            repository(proxy.address, credentials=credentials) as own,
            pytest.raises(Unauthorised, match=what) as raised,
        ):
            own.resolve("1")
    assert [request.authorization for request in storage.received] == [None]
    assert not third.received
    assert_secret(raised.value)


@every_login
def test_a_challenge_after_a_redirect_and_back(proxy: FaultProxy, credentials: Credentials) -> None:
    """The other host has chosen the URL of the registry then."""
    with FaultProxy() as storage, FaultProxy() as third:
        storage.fault(lambda _: True, refusing(307, Location=f"{proxy.url}/v2/echo"))
        proxy.fault(lambda request: request.is_manifest, redirected(storage.url))
        proxy.fault(lambda _: True, challenging(f'Bearer realm="{third.url}/token"'))
        with repository(proxy.address, credentials=credentials) as own, pytest.raises(Unauthorised):
            own.resolve("1")
    assert proxy.received[-1].authorization is None
    assert not third.received


@every_login
def test_a_token_server_elsewhere_over_plain_http(proxy: FaultProxy, credentials: Credentials) -> None:
    with FaultProxy(host=own_address()) as server:
        proxy.fault(lambda _: True, challenging(f'Bearer realm="{server.url}/token"'))
        what = r"the token server of 127.* speaks plain HTTP, where a password would be seen"
        with repository(proxy.address, credentials=credentials) as own, pytest.raises(Invalid, match=what):
            own.resolve("1")
    assert not server.received


def test_a_token_server_elsewhere_without_a_login(proxy: FaultProxy) -> None:
    tokens = TokenServer(server=FaultProxy(host=own_address()))
    with tokens.server:
        tokens.protect(proxy)
        with repository(proxy.address) as own:
            assert pulled(own) == MODULE
    assert tokens.asked == {PULL: 1}


@every_login
@pytest.mark.parametrize("challenge", ['Basic realm="x"', 'Bearer realm="{}/token"'], ids=["basic", "bearer"])
def test_a_plain_registry_elsewhere_gets_no_credentials(credentials: Credentials, challenge: str) -> None:
    with FaultProxy(host=own_address()) as registry:
        registry.fault(lambda _: True, challenging(challenge.format(registry.url)))
        what = "wants a login over plain HTTP, where a password would be seen, so none is sent; give it TLS"
        with repository(registry.address, credentials=credentials) as own, pytest.raises(Unauthorised, match=what):
            own.resolve("1")
    assert [request.authorization for request in registry.received] == [None]


def test_a_plain_registry_elsewhere_without_a_login(hello: Registry) -> None:
    tokens = TokenServer(server=FaultProxy(host=own_address()))
    with tokens.server, FaultProxy(hello.address, host=own_address()) as registry:
        tokens.protect(registry)
        with repository(registry.address) as own:
            assert pulled(own) == MODULE


@pytest.mark.parametrize(
    "location",
    [
        "http://{third}\\@{own}/upload",
        "http://{own}@{third}/upload",
        "//{third}/upload",
        "HTTP://{third}/upload",
    ],
    ids=["backslash", "user-information", "without-scheme", "upper-case"],
)
def test_locations_that_are_read_in_two_ways(proxy: FaultProxy, location: str) -> None:
    with FaultProxy() as third:
        third.fault(lambda _: True, lambda *_: Answer(201))
        target = location.format(third=third.address, own=proxy.address)
        proxy.fault(lambda request: "authorization" not in request.headers, authenticating)
        proxy.fault(lambda request: request.method == "POST", refusing(202, Location=target))
        proxy.fault(lambda request: request.method == "PUT", refusing(201))
        proxy.fault(lambda request: request.method == "HEAD", refusing(404))
        with repository(proxy.address, credentials=USER) as own:
            own.push_module(MODULE)
    assert [request.authorization for request in third.received] == [None, None]


@pytest.mark.parametrize("location", ["{url}/v2/up", "/v2/up", "up", "?state=x"])
def test_a_location_is_relative_to_its_request(proxy: FaultProxy, location: str) -> None:
    """RFC 9110 section 10.2.2."""
    proxy.fault(lambda request: request.method == "HEAD", refusing(404))
    proxy.fault(lambda request: request.method == "POST", refusing(202, Location=location.format(url=proxy.url)))
    proxy.fault(lambda request: request.method == "PUT", refusing(201))
    with repository(proxy.address, credentials=USER) as own:
        own.push_module(MODULE)
    path = {"up": "/v2/team/hello/blobs/uploads/up", "?state=x": "/v2/team/hello/blobs/uploads/?state=x&"}
    paths = [request.path for request in proxy.received if request.method == "PUT" and not request.is_manifest]
    assert all(each.startswith(path.get(location, "/v2/up")) for each in paths)
    assert len(paths) == 2


def test_cookies_do_not_follow_a_redirect(proxy: FaultProxy) -> None:
    """A cookie has no port (RFC 6265 section 8.5)."""
    with FaultProxy() as storage:
        storage.fault(lambda _: True, lambda *_: Answer(200, {}, MODULE))
        location = {"Location": f"{storage.url}/blob", "Set-Cookie": "session=SECRET; Path=/"}
        proxy.fault(lambda request: request.is_blob, lambda *_: Answer(307, location))
        with repository(proxy.address) as own:
            assert pulled(own) == MODULE
    assert [request.headers.get("cookie") for request in storage.received] == [None]


@pytest.mark.parametrize(
    ("challenge", "scheme"),
    [
        ('Basic realm="x", Bearer realm="{}/token"', "Bearer"),
        ('BEARER REALM = "{}/token" , basic', "Bearer"),
        ('Negotiate, Basic realm="a, Bearer realm=b", bearer  realm={}/token', "Bearer"),
        ('Basic realm="a\\", Bearer realm=\\"http://192.0.2.9/"', "Basic"),
        ('Bearer, Basic realm="x"', "Basic"),
        ('Bearer realm="/token", Basic realm="x"', "Basic"),
        ('Bearer realm="http://192.0.2.9/token", Basic realm="x"', "Basic"),
    ],
)
def test_which_challenge_is_answered(proxy: FaultProxy, tokens: TokenServer, challenge: str, scheme: str) -> None:
    tokens.issued["TOKEN-0"] = PULL
    with FaultProxy() as registry:
        registry.fault(
            lambda request: not request.authorization, challenging(challenge.replace("{}", tokens.server.url))
        )
        registry.fault(lambda _: True, refusing(404))
        with repository(registry.address, credentials=USER) as own, pytest.raises(RegistryError, match="404"):
            own.resolve("1")
    assert [(each.authorization or "").partition(" ")[0] for each in registry.received] == ["", scheme]
    assert not proxy.received


@pytest.mark.parametrize("scope", ["", 'scope="::"', 'scope=""', 'scope="aws"', 'scope=":: repository:x: pull *"'])
def test_a_scope_that_is_none(proxy: FaultProxy, tokens: TokenServer, scope: str) -> None:
    with FaultProxy(proxy.upstream) as registry:
        header = ", ".join(filter(None, [f'Bearer realm="{tokens.server.url}/token?a=b"', scope]))
        registry.fault(lambda request: not request.authorization, challenging(header))
        tokens.protect(registry)
        with repository(registry.address, credentials=USER) as own:
            assert pulled(own) == MODULE
            own.push_module(module(23), "4")
    assert tokens.asked == {PULL: 1, PUSH: 1}


def test_several_scopes_are_several_parameters(proxy: FaultProxy, tokens: TokenServer) -> None:
    """A token server reads one scope from each parameter of a GET; a form has all of them in one (RFC 6749)."""
    scopes = f"{PULL} repository:team/hello:delete"
    header = f'Bearer realm="{tokens.server.url}/token",service=a,scope="{scopes}"'
    for credentials in (USER, Credentials(identity_token=IDENTITY)):
        with FaultProxy() as registry:
            registry.fault(lambda request: not request.authorization, challenging(header))
            registry.fault(lambda _: True, refusing(404))
            with (
                repository(registry.address, credentials=credentials) as own,
                pytest.raises(RegistryError, match="404"),
            ):
                own.resolve("1")
    got, posted = tokens.server.received
    assert parse_qs(urlsplit(got.path).query) == {"service": ["a"], "scope": scopes.split()}
    assert parse_qs(posted.body.decode())["scope"] == [scopes]
    assert not proxy.received


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
