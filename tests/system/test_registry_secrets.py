"""Random chains of redirects and challenges between a registry, its token server and third parties, which record all
that they receive: no third party receives a secret."""

from __future__ import annotations

import contextlib
import io
import json
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.support.fault_proxy import Answer, FaultProxy, Received
from tests.support.own_address import own_address
from tests.support.registry import Registry, write_authority
from tests.support.repositories import module, own_home, repository  # noqa: F401
from wagi_gateway.sources.oci.endpoint import Credentials
from wagi_gateway.sources.oci.errors import RegistryError
from wagi_gateway.sources.oci.manifest import Descriptor
from wagi_gateway.sources.oci.repository import Repository

pytestmark = pytest.mark.usefixtures("own_home")

PASSWORD, IDENTITY, GIVEN = "SECRET pass+word", "SECRET-IDENTITY", "SECRET-GIVEN"
TOKEN, COOKIE = "SECRET-TOKEN", "SECRET-COOKIE"
BASIC = b64encode(f"user:{PASSWORD}".encode()).decode()
SECRETS = ("SECRET", BASIC, BASIC[:-4], quote_plus(PASSWORD), "NETRC")
LOGINS = (
    Credentials("user", PASSWORD),
    Credentials("user", identity_token=IDENTITY),
    Credentials(registry_token=GIVEN),
)
MODULE = module(30)
LAYER = Descriptor.model_validate(
    {"mediaType": "application/wasm", "digest": f"sha256:{'0' * 64}", "size": len(MODULE)}
)

SERVERS = ("registry", "tokens", "third", "elsewhere")
THIRD_PARTIES = ("third", "elsewhere")
URLS = (
    *(5 * ("{url}/v2/team/hello/manifests/1?a=b",)),
    "//{address}/x",
    "{registry}@{address}/x",
    "http://{address}\\@{own}/x",
    "http://user:pw@{address}/x",
    "/v2/team/hello/blobs/uploads/x",
    "x",
)
REALMS = (
    *(5 * ("{url}/token?x=y",)),
    "http://user@{address}/token",
    "http://{address}\\@{own}/token",
    "/token",
    "",
)


@dataclass(frozen=True, slots=True)
class Step:
    """A response of a server: its own one, a status with a Location, or a challenge."""

    status: int = 200
    target: str = "third"
    location: str = ""
    challenges: tuple[str, ...] = ()
    """Templates of WWW-Authenticate."""


def redirects() -> st.SearchStrategy[Step]:
    """Redirects and upload locations to any server."""
    statuses = st.sampled_from([202, 301, 302, 303, 307, 308])
    targets = st.sampled_from([*SERVERS, *THIRD_PARTIES])
    return st.builds(Step, statuses, targets, st.sampled_from(URLS))


def challenges(*targets: str) -> st.SearchStrategy[Step]:
    """Challenges that name one of the servers as token server."""
    basic = st.just('Basic realm="x"')
    bearer = st.builds(
        'Bearer realm="{}",service="s",scope="{}"'.format,
        st.sampled_from(REALMS),
        st.sampled_from(["", "::", "repository:team/hello:pull", "repository:team/hello:pull,push"]),
    )
    several = st.lists(basic | bearer, min_size=1, max_size=2).map(tuple)
    return st.builds(Step, st.just(401), st.sampled_from(targets), st.just(""), several)


ordinary = st.builds(Step, st.sampled_from([200, 200, 200, 403, 404, 405, 500]))
SCRIPTS = st.fixed_dictionaries(
    {
        # The registry names its token server, or one whose plain HTTP another machine would see.
        "registry": st.lists(
            challenges("tokens", "tokens", "elsewhere") | redirects() | redirects() | ordinary, min_size=2, max_size=8
        ),
        "tokens": st.lists(ordinary | redirects() | challenges(*THIRD_PARTIES), max_size=3),
        "third": st.lists(ordinary | redirects() | challenges(*SERVERS), min_size=1, max_size=4),
        "elsewhere": st.lists(ordinary | redirects() | challenges(*SERVERS), min_size=1, max_size=4),
    }
)


@dataclass(slots=True)
class Network:
    """The servers, and the script of an example; a server without a step left answers as itself."""

    servers: dict[str, FaultProxy]
    ca_file: Path | None
    script: dict[str, list[Step]] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    """Servers that the registry has named in a challenge for a bearer token."""
    early: list[str] = field(default_factory=list)
    """Secrets that the token server received before the registry had named it."""

    def begin(self, script: dict[str, list[Step]]) -> None:
        """Sets the script of an example, and forgets the last one."""
        self.script = {name: list(steps) for name, steps in script.items()}
        self.named.clear()
        self.early.clear()
        for server in self.servers.values():
            server.received.clear()

    def answer(self, name: str, request: Received) -> Answer | None:
        """The response of a server."""
        if name == "tokens" and name not in self.named:
            self.early += [secret for secret in SECRETS if secret in text_of(request)]
        step = self.script[name].pop(0) if self.script.get(name) else Step()
        headers = {"Set-Cookie": f"session={COOKIE}; Path=/"}
        if step.status == 200 and name == "registry":
            return None
        if step.status == 200:
            token = "ELSEWHERE" if name in THIRD_PARTIES else TOKEN
            return Answer(200, headers, json.dumps({"token": token}).encode())
        if step.location:
            headers["Location"] = self._url(step.location, step.target)
        if step.challenges:
            headers["WWW-Authenticate"] = ", ".join(self._url(each, step.target) for each in step.challenges)
            if name == "registry" and any("Bearer" in each for each in step.challenges):
                self.named.add(step.target)
        return Answer(step.status, headers)

    def _url(self, template: str, target: str) -> str:
        server = self.servers[target]
        own = self.servers["registry"]
        return template.format(url=server.url, address=server.address, registry=own.url, own=own.address)


def text_of(request: Received) -> str:
    """All that a server learns from a request."""
    return f"{request.method} {request.path} {request.headers} {request.body.decode('latin-1')}"


@pytest.fixture(scope="module", params=["plain", "tls"])
def network(
    request: pytest.FixtureRequest, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Network]:
    """A registry and its token server, both plain or both with TLS, and two third parties."""
    directory = tmp_path_factory.mktemp("tls")
    ca_file = write_authority(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    tls = context if request.param == "tls" else None
    with pytest.MonkeyPatch.context() as environment, repository(registry, "team/hello:1") as own:
        environment.setenv("no_proxy", "*")
        own.push_module(MODULE)
    servers = {
        "registry": FaultProxy(registry.address, tls),
        "tokens": FaultProxy(tls=tls),
        "third": FaultProxy(tls=tls),
        "elsewhere": FaultProxy(host=own_address()),
    }
    running = Network(servers, ca_file if tls else None)
    with contextlib.ExitStack() as stack:
        for name, server in servers.items():
            stack.enter_context(server)
            server.fault(lambda _: True, lambda request, _proxy, name=name: running.answer(name, request))  # type: ignore[misc]
        yield running


OPERATIONS: dict[str, Callable[[Repository], object]] = {
    "resolve": lambda own: own.resolve("1"),
    "digest": lambda own: own.digest_of("1"),
    "blob": lambda own: own.fetch_blob(LAYER, io.BytesIO()),
    "push": lambda own: own.push_module(MODULE, "2"),
}


@settings(max_examples=300)
@given(SCRIPTS, st.sampled_from(LOGINS), st.lists(st.sampled_from([*OPERATIONS]), min_size=1, max_size=3))
def test_no_third_party_receives_a_secret(
    network: Network, script: dict[str, list[Step]], credentials: Credentials, operations: list[str]
) -> None:
    network.begin(script)
    own = repository(network.servers["registry"].address, credentials=credentials, ca_file=network.ca_file, retries=0)
    with own:
        for operation in operations:
            with contextlib.suppress(RegistryError):
                OPERATIONS[operation](own)
    received = {name: "\n".join(map(text_of, server.received)) for name, server in network.servers.items()}
    for name in THIRD_PARTIES:
        event(f"{name} received something: {bool(received[name])}")
        assert [secret for secret in SECRETS if secret in received[name]] == []
    event(f"the token server received a login: {BASIC in received['tokens'] or IDENTITY in received['tokens']}")
    assert network.early == []
    for text, wrong in (("tokens", (COOKIE, TOKEN, GIVEN, "NETRC")), ("registry", (COOKIE, IDENTITY, "NETRC"))):
        assert [secret for secret in wrong if secret in received[text]] == []
