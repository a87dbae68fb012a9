"""Outbound calls reach only hosts of `allowed_hosts`, for any URL, any redirect and any result of a resolver.

Two parts are simulated: a table replaces the resolver, whose results may change with each look-up, and one target on
this machine serves all addresses in PUBLIC. The expected verdicts come from the construction of an entry, not from its
text.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Server, running
from tests.support import guests
from tests.support.clients import Described, IdleWaiter
from tests.support.config import module
from tests.support.farm import Target
from wagi_gateway.config.settings import Limits
from wagi_gateway.outbound import network
from wagi_gateway.outbound.client import Call, OutboundClient
from wagi_gateway.outbound.deadline import CallDeadline
from wagi_gateway.outbound.destination import Address
from wagi_gateway.outbound.errors import OutboundError
from wagi_gateway.outbound.policy import Policy
from wagi_gateway.outbound.proxy import Proxy
from wagi_gateway.outbound.session import OutboundSession

PUBLIC = ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946")
PRIVATE = ("10.0.0.1", "169.254.169.254", "fd00:ec2::254", "::", "0.0.0.0", "255.255.255.255")
"""An address without a server; the attempt to connect is the failure."""
BELOW = ("a.wild.test", "b.a.wild.test")
"""Names that `*.wild.test` matches."""
NAMES = (*BELOW, "wild.test", "evilwild.test", "a.wild.test.evil.test", "exact.test")


@dataclass(slots=True)
class Farm:
    """The targets, and the target that serves public addresses."""

    targets: Sequence[Target]
    internet: Target
    """The target for the addresses in PUBLIC, at any port."""
    guest: IdleWaiter = field(default_factory=IdleWaiter)
    counted: Counter[str] = field(default_factory=Counter)
    """The number of connections of each target at the last count."""

    def new_connections(self, target: Target) -> int:
        """The number of a target's connections since the previous call."""
        total = target.connections()
        before, self.counted[target.url] = self.counted[target.url], total
        return total - before


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with ExitStack() as stack:
        hosts = ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.3", *["::1"] * _has_ipv6()]
        targets = [stack.enter_context(Target(host)) for host in hosts]
        yield Farm(targets, stack.enter_context(Target("127.0.0.9")))


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@dataclass(slots=True)
class World:
    """One module's outbound client, with its look-ups and connections."""

    farm: Farm
    entries: Sequence[str]
    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    """For each name the results of successive look-ups; the last one repeats."""
    allow_private_networks: bool = False
    proxy: Proxy | None = None
    calls: list[Call] = field(default_factory=list)
    dialled: list[tuple[Address, int]] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    client: OutboundClient = field(init=False)

    def __enter__(self) -> World:
        policy = Policy(self.entries, allow_private_networks=self.allow_private_networks)
        limits = Limits(http_time=5)
        self.client = OutboundClient(policy, limits, 4, proxy=self.proxy, lookup=self._look_up, dial=self._dial)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def get(self, url: str) -> int:
        """Makes a call; returns the status or the number of the error."""
        session = OutboundSession(self.client, self.calls.append)
        try:
            return session.request(Described(url), self.farm.guest)[0]
        except OutboundError as error:
            return error.code
        finally:
            session.end()

    def _look_up(self, name: str) -> list[str]:
        self.looked_up.append(name)
        answers = self.answers.get(name)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _dial(self, address: Address, port: int, deadline: CallDeadline) -> socket.socket:
        self.dialled.append((address, port))
        if str(address) in PUBLIC:
            return network.dial(ip_address(self.farm.internet.host), self.farm.internet.port, deadline)
        if str(address) in PRIVATE:
            raise ConnectionRefusedError
        return network.dial(address, port, deadline)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of `allowed_hosts`, and its kind."""

    text: str
    kind: Literal["address", "name", "wildcard", "all", "nothing here"]
    host: str = ""
    port: int = 0


def may_reach(
    entries: Sequence[Entry], answers: dict[str, list[list[str]]], private: bool, address: str, port: int
) -> bool:
    """Whether at least one entry permits a connection to an address."""
    permitted = private or address in PUBLIC

    def is_found(*names: str) -> bool:
        return any(_v4(found) == address for name in names for answer in answers[name] for found in answer)

    return any(
        (entry.kind == "all" and permitted)
        or (entry.kind == "wildcard" and entry.port == port and permitted and is_found(*BELOW))
        or (entry.kind == "name" and entry.port == port and is_found(entry.host))
        or (entry.kind == "address" and (entry.host, entry.port) == (address, port))
        for entry in entries
    )


def may_look_up(entries: Sequence[Entry], name: str) -> bool:
    """Whether an entry permits a look-up of a name; a look-up by itself leaks information."""
    return any(
        entry.kind == "all"
        or (entry.kind == "wildcard" and name in BELOW)
        or (entry.kind, entry.host) == ("name", name)
        for entry in entries
    )


def _v4(address: str) -> str:
    """The IPv4 address of an IPv4-mapped address, which reaches the same host."""
    parsed = ip_address(address)
    return str((parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed)


def spellings(host: str) -> st.SearchStrategy[str]:
    """Spellings of a host in ASCII."""
    if ":" in host:
        return st.sampled_from([f"[{host}]", f"[{ip_address(host).exploded.upper()}]"])
    if host[0].isdigit():
        octets = [int(part) for part in host.split(".")]
        number = int(ip_address(host))
        octal = ".".join(f"0{octet:o}" for octet in octets)
        mixed = f"{octets[0]:#x}.{number & 0xFFFFFF}"
        mapped = [f"[::ffff:{host}]", f"[::FFFF:{number >> 16:x}:{number & 0xFFFF:x}]"]
        numbers = [f"{number}", f"{number:#x}", octal, mixed, *mapped]
        return st.sampled_from([host, host, host + ".", host.replace(".", "%2e"), *numbers])
    return st.sampled_from([host, host.upper(), host + ".", host.replace("a", "%61"), host.replace(".", "%2E")])


@st.composite
def entries_of(draw: st.DrawFn, targets: Sequence[Target]) -> Entry:
    """A strategy for one entry."""
    target = draw(st.sampled_from(targets))
    port = target.port
    scheme = draw(st.sampled_from(["", "http://"]))
    match draw(st.sampled_from(["address", "address", "name", "wildcard", "all", "other"])):
        case "address":
            host = draw(spellings(target.host).filter(lambda text: "%" not in text))
            return Entry(f"{scheme}{host}:{port}", "address", target.host, port)
        case "name":
            name = draw(st.sampled_from(NAMES))
            return Entry(f"{scheme}{name}:{port}", "name", name, port)
        case "wildcard":
            return Entry(f"{scheme}*.wild.test:{port}", "wildcard", port=port)
        case "all":
            return Entry("insecure:allow-all", "all")
    host = target.host if ":" not in target.host else f"[{target.host}]"
    if draw(st.booleans()):
        return Entry(scheme + host, "address", target.host, 80)
    others = [f"https://{host}:{port}", f"https://{host}", f"*.test:{port + 1}", f"localhost:{port}"]
    return Entry(draw(st.sampled_from(others)), "nothing here")


TRICKS = (
    *["http://{host}:{port}{path}"] * 4,
    "http://user:password@{host}:{port}{path}",
    "http://{other}@{host}:{port}{path}",
    "http://{other}%2f@{host}:{port}{path}",
    "http://{other}#@{host}:{port}{path}",
    "http://{other}\\@{host}:{port}{path}",
    "http://{host}:{port}\\@{other}{path}",
    "http://{other}:80@{host}:{port}{path}",
    "http:\\\\{host}:{port}{path}",
    "hTTp:/\\/{host}:{port}{path}",
    "http:{host}:{port}{path}",
    "http:/{host}:{port}{path}",
    "ht\ttp://{host}\t:{port}{path}",
    "//{host}:{port}{path}",
    "\\\\{host}:{port}{path}",
    "http://{host}:{port}/a/..{path}#{other}",
)


@st.composite
def urls_of(draw: st.DrawFn, targets: Sequence[Target], *others: str) -> str:
    """A strategy for URLs: of a target, or with up to two redirects, each with any host."""
    url = ""
    for _ in range(draw(st.sampled_from([1, 1, 2, 2, 2, 3, 4, 12]))):
        target, other = draw(st.sampled_from(targets)), draw(st.sampled_from(targets))
        host = draw(spellings(draw(st.sampled_from([target.host] * 6 + list(others)))))
        template = draw(st.sampled_from(TRICKS))
        if url and draw(st.integers(0, 3)):  # most redirectors must be reachable
            target, host, template = targets[0], targets[0].host, TRICKS[0]
        if url:
            path = f"/redirect?status={draw(st.sampled_from([301, 302, 303, 307, 308]))}&to={quote(url, safe='')}"
        else:
            path = draw(st.sampled_from(["/hello", "/big?size=99999", "/"]))
        url = template.format(host=host, port=target.port, other=other.host, path=path)
    return url


@dataclass(frozen=True, slots=True)
class Story:
    """A configuration, the results of the resolver, and the URLs of calls."""

    entries: list[Entry]
    answers: dict[str, list[list[str]]]
    allow_private_networks: bool
    urls: list[str]


@st.composite
def stories(draw: st.DrawFn, targets: Sequence[Target]) -> Story:
    """A strategy for stories."""
    hosts = [target.host for target in targets]
    mapped = [f"::ffff:{host}" for host in hosts if ":" not in host]
    answer = st.lists(st.sampled_from([*PUBLIC * 2, *hosts, *mapped, *PRIVATE]), max_size=3)
    redirector = Entry(targets[0].url, "address", targets[0].host, targets[0].port)
    return Story(
        [redirector, Entry("insecure:allow-all", "all")][: draw(st.integers(0, 2))]
        + draw(st.lists(entries_of(targets), max_size=4)),
        {name: draw(st.lists(answer, min_size=1, max_size=3)) for name in NAMES},
        draw(st.sampled_from([False, False, False, True])),
        draw(st.lists(urls_of(targets, *NAMES, *PUBLIC, *PRIVATE[:2]), min_size=1, max_size=6)),
    )


def test_nothing_else_is_contacted(farm: Farm) -> None:
    seen: Counter[str] = Counter()

    @given(stories(farm.targets))
    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    def holds(story: Story) -> None:
        answers = {name: list(found) for name, found in story.answers.items()}
        entries = [entry.text for entry in story.entries]
        with World(farm, entries, answers, story.allow_private_networks) as world:
            for url in story.urls:
                world.get(url)
        private = story.allow_private_networks

        def is_meant(address: str, port: int) -> bool:
            return may_reach(story.entries, story.answers, private, _v4(address), port)

        for name in world.looked_up:
            assert may_look_up(story.entries, name), f"{name} was looked up"
        for address, port in world.dialled:
            assert is_meant(str(address), port), f"{address} port {port} was dialled"
        for target in farm.targets:
            connections = farm.new_connections(target)
            assert not connections or is_meant(target.host, target.port), f"{target.url} was contacted"
        count(world, seen)

    kinds = {"answered", "denied", "redirected", "denied at a redirect", "denied as an address", "public"}
    for _ in range(5):  # by chance, no example of a kind may be among the first
        holds()
        if not (missing := kinds - seen.keys()):
            break
    assert not missing, f"no example was about: {missing}"


def count(world: World, seen: Counter[str]) -> None:
    """Counts the outcomes, which show that the test covers more than denials."""
    for call in world.calls:
        seen[call.outcome] += 1
        seen["redirected"] += call.redirects > 0 and call.outcome == "answered"
        seen["denied at a redirect"] += call.redirects > 0 and call.outcome == "denied"
        seen["denied as an address"] += "is not a public address" in call.reason
    seen["public"] += any(str(address) in PUBLIC for address, _ in world.dialled)
    for name in [name for name, number in seen.items() if not number]:
        del seen[name]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "form",
    [
        "http://127.0.0.3:{port}/hello",
        "//127.0.0.3:{port}/hello",
        "\\\\127.0.0.3:{port}/hello",
        "http:\\\\0x7f.3:{port}/hello",
        "http://[::ffff:127.0.0.3]:{port}/hello",
        "http://127.0.0.1@127.0.0.3:{port}/hello",
    ],
)
def test_a_redirect_is_checked(farm: Farm, form: str, status: int) -> None:
    allowed, denied = farm.targets[0], farm.targets[3]
    farm.new_connections(denied)
    to = quote(form.format(port=denied.port), safe="")
    with World(farm, [allowed.url]) as world:
        assert world.get(f"{allowed.url}/redirect?status={status}&to=/hello") == 200
        assert world.get(f"{allowed.url}/redirect?status={status}&to={to}") == 7
        again = quote(f"/redirect?status={status}&to={to}", safe="")
        assert world.get(f"{allowed.url}/redirect?to={again}") == 7
        assert [call.redirects for call in world.calls] == [1, 1, 2]
    assert farm.new_connections(denied) == 0


@pytest.mark.parametrize("scheme", ["https", "ftp", "ws", "gopher", "httpx"])
def test_a_redirect_to_another_scheme_is_checked(farm: Farm, scheme: str) -> None:
    allowed = farm.targets[0]
    to = quote(f"{scheme}://127.0.0.1:{allowed.port}/hello", safe="")
    with World(farm, [allowed.url]) as world:
        assert world.get(f"{allowed.url}/redirect?to={to}") == 7
        assert len(world.dialled) == 1


@pytest.mark.parametrize("redirects", [10, 11])
def test_ten_redirects_are_followed(farm: Farm, redirects: int) -> None:
    allowed = farm.targets[0]
    url = "/hello"
    for _ in range(redirects):
        url = f"/redirect?to={quote(url, safe='')}"
    with World(farm, [allowed.url]) as world:
        assert world.get(allowed.url + url) == (200 if redirects == 10 else 11)


def test_an_endless_redirect_ends(farm: Farm) -> None:
    allowed = farm.targets[0]
    before = len(allowed.requests)
    with World(farm, [allowed.url]) as world:
        assert world.get(f"{allowed.url}/status/302") == 302, "without Location it is an answer like any other"
        assert world.get(f"{allowed.url}/redirect?to=") == 11
    assert len(allowed.requests) - before == 1 + 11


@pytest.mark.parametrize("entry", ["insecure:allow-all", "*.wild.test:{port}"])
@pytest.mark.parametrize("second", [["127.0.0.3"], ["::ffff:127.0.0.3"], ["127.0.0.3", "127.0.0.3"]], ids=str)
def test_a_name_whose_address_changes(farm: Farm, entry: str, second: list[str]) -> None:
    denied = farm.targets[3]
    farm.new_connections(denied)
    answers = {"a.wild.test": [[PUBLIC[0]], second, [PUBLIC[0]]]}
    # The guest does not read this body, so that the connection is not reused.
    url = f"http://a.wild.test:{denied.port}/big?size=99999"
    with World(farm, [entry.format(port=denied.port)], answers) as world:
        assert [world.get(url) for _ in range(3)] == [200, 7, 200]
        assert world.dialled == [(ip_address(PUBLIC[0]), denied.port)] * 2
        assert len(world.looked_up) == 3, "the address that was checked is the one that is used"
    assert farm.new_connections(denied) == 0


@pytest.mark.parametrize("name", [name for name in NAMES if name not in BELOW])
def test_a_denied_name_is_not_even_looked_up(farm: Farm, name: str) -> None:
    answers = {name: [[PUBLIC[0]]]}
    with World(farm, ["*.wild.test", "*.exact.test"], answers) as world:
        assert world.get(f"http://{name}/hello") == 7
        assert (world.looked_up, world.dialled) == ([], [])


def test_a_kept_connection_needs_no_look_up(farm: Farm) -> None:
    """A persistent connection keeps its address when the name's address changes."""
    answers = {"a.wild.test": [[PUBLIC[0]], ["127.0.0.3"]]}
    with World(farm, ["*.wild.test"], answers) as world:
        assert [world.get("http://a.wild.test/hello") for _ in range(3)] == [200, 200, 200]
        assert (len(world.looked_up), len(world.dialled)) == (1, 1)


def test_of_many_addresses_the_public_one_is_used(farm: Farm) -> None:
    denied = farm.targets[3]
    farm.new_connections(denied)
    answers = {"a.wild.test": [["127.0.0.3", "::ffff:127.0.0.3", *PRIVATE, PUBLIC[1]]]}
    with World(farm, ["insecure:allow-all"], answers) as world:
        assert world.get(f"http://a.wild.test:{denied.port}/hello") == 200
        assert world.dialled == [(ip_address(PUBLIC[1]), denied.port)]
    assert farm.new_connections(denied) == 0


def test_a_redirect_from_an_exact_name_to_a_wildcard_is_public_again(farm: Farm) -> None:
    """An exact entry applies to its own hop only."""
    first, denied = farm.targets[2:4]
    farm.new_connections(denied)
    answers = {"exact.test": [[first.host]], "a.wild.test": [[denied.host]]}
    to = quote(f"http://a.wild.test:{denied.port}/hello", safe="")
    with World(farm, [f"exact.test:{first.port}", f"*.wild.test:{denied.port}"], answers) as world:
        assert world.get(f"http://exact.test:{first.port}/redirect?to={to}") == 7
    assert farm.new_connections(denied) == 0


def test_an_exact_name_and_private_networks_reach_loopback(farm: Farm) -> None:
    target = farm.targets[2]
    answers = {"a.wild.test": [[target.host]]}
    url = f"http://a.wild.test:{target.port}/hello"
    for entries, private in ((["insecure:allow-all"], True), ([f"a.wild.test:{target.port}"], False)):
        with World(farm, entries, answers, private) as world:
            assert world.get(url) == 200


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("http://exact.test/hello", 200),
        ("http://exact.test/redirect?to=/hello", 200),
        ("http://exact.test/redirect?to=http://wild.test/hello", 7),
        ("http://exact.test/redirect?to=http://a.wild.test/hello", 7),
        ("http://exact.test/redirect?to=http://127.0.0.3/hello", 7),
        ("http://exact.test@evilwild.test/hello", 7),
        ("http://exact.test:81/hello", 7),
        ("https://a.wild.test/hello", 7),
        ("http://169.254.169.254/hello", 7),
        ("http://[::ffff:127.0.0.3]/hello", 7),
        (f"http://{PUBLIC[0]}/hello", 200),
        ("http://127.0.0.1../hello", 10),
    ],
)
def test_a_proxy_gets_no_other_request(farm: Farm, url: str, answer: int) -> None:
    """The proxy resolves names itself, so wildcards and allow-all permit no name."""
    proxy = farm.targets[1]
    before = len(proxy.requests)
    entries = ["exact.test", "*.wild.test", "insecure:allow-all"]
    with World(farm, entries, proxy=Proxy.parse(proxy.url)) as world:
        assert world.get(url) == answer
        assert set(world.dialled) <= {(ip_address(proxy.host), proxy.port)}
        assert world.looked_up == []
    asked = {urlsplit(request.target).hostname for request in proxy.requests[before:]}
    assert asked <= {"exact.test", PUBLIC[0]}


_IMPORT = f'(import "wasi_experimental_http" "req" (func $req (param {"i32 " * 10}) (result i32)))'
_OUTPUT = guests.CONTENT_TYPE + b"00"
CALLER = f"""(module {guests.FD_WRITE} {guests.FD_READ} {_IMPORT}
 (memory (export "memory") 3)
 (data (i32.const 512) "GET")
 (data (i32.const 1024) {guests.wat_string(_OUTPUT)})
 {guests.WRITE}
 (func $put (param $at i32) (param $digit i32)
  (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $digit) (i32.const 10)))))
 (func (export "_start") (local $error i32)
  (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 65536))
  (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
  (local.set $error (call $req (i32.const 65536) (i32.load (i32.const 8)) (i32.const 512) (i32.const 3)
   (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 600) (i32.const 604)))
  (call $put (i32.const {1024 + len(_OUTPUT) - 2}) (i32.div_u (local.get $error) (i32.const 10)))
  (call $put (i32.const {1024 + len(_OUTPUT) - 1}) (local.get $error))
  (call $write (i32.const 1) (i32.const 1024) (i32.const {len(_OUTPUT)}))))"""
"""A guest that calls the URL in its standard input and prints the error in two digits."""

ROUTES = ("exact", "all", "wildcard", "nothing")


@pytest.fixture(scope="module")
def gateway(farm: Farm, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """A gateway with four routes and hostile proxy variables in its environment."""
    directory = tmp_path_factory.mktemp("gateway")
    (directory / "caller.wat").write_text(CALLER)
    lists: tuple[list[str], ...] = ([farm.targets[0].url], ["insecure:allow-all"], ["*.localhost", "*.test"], [])
    config = ""
    for route, hosts in zip(ROUTES, lists, strict=True):
        config += module(f"/{route}", "caller.wat", allowed_hosts=hosts, limits={"http_connect_time": 2})
    proxy = farm.targets[3].url
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    with running(directory, config, cache=cache, environment={**dict.fromkeys(names, proxy), "no_proxy": ""}) as server:
        yield server


def ask(gateway: Server, route: str, url: str) -> int:
    """The error of a call by a route's guest."""
    response = gateway.post(f"/{route}", url.encode())
    assert response.status_code == 200, response.text
    return int(response.text)


def test_a_served_guest_contacts_nothing_else(farm: Farm, gateway: Server) -> None:
    allowed, *denied = farm.targets
    for target in farm.targets:
        farm.new_connections(target)

    @given(st.sampled_from(ROUTES), urls_of(farm.targets, "localhost", *PRIVATE[:2]))
    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    def holds(route: str, url: str) -> None:
        assert ask(gateway, route, url) in (0, 7, 10, 11)
        assert not farm.new_connections(allowed) or route == "exact"

    holds()
    assert sum(map(farm.new_connections, denied)) == 0


@pytest.mark.parametrize(
    ("route", "url", "error"),
    [
        ("exact", "http://127.0.0.1:{0}/hello", 0),
        ("exact", "http://0x7f.1:{0}/redirect?to=/hello", 0),
        ("exact", "http://127.0.0.1:{1}/hello", 7),
        ("exact", "http://127.0.0.1:{0}/redirect?to=http://127.0.0.1:{1}/hello", 7),
        ("exact", "http://127.0.0.1:{0}/redirect?to=http://127.0.0.3:{3}/hello", 7),
        ("exact", "http://127.0.0.1:{0}/redirect?to=//[::ffff:127.0.0.1]:{1}/hello", 7),
        ("exact", "http://127.0.0.1:{0}\\@127.0.0.3:{3}/hello", 0),
        ("exact", "http://127.0.0.1:{0}@127.0.0.3:{3}/hello", 7),
        ("exact", "http://localhost:{0}/hello", 7),
        ("exact", "https://127.0.0.1:{0}/hello", 7),
        ("exact", "http://127.0.0.256:{0}/hello", 10),
        ("all", "http://127.0.0.3:{3}/hello", 7),
        ("all", "http://localhost:{1}/hello", 7),
        ("all", "http://LOCALHOST.:{1}/hello", 7),
        ("all", "http://0:{1}/hello", 7),
        ("all", "http://[::]:{1}/hello", 7),
        ("all", "http://[::ffff:127.0.0.3]:{3}/hello", 7),
        ("all", "http://169.254.169.254/latest/meta-data/", 7),
        ("wildcard", "http://localhost:{1}/hello", 7),
        ("nothing", "http://127.0.0.1:{0}/hello", 7),
        ("nothing", "http://", 10),
    ],
)
def test_the_error_in_a_served_guest(farm: Farm, gateway: Server, route: str, url: str, error: int) -> None:
    denied = farm.targets[1:]
    for target in denied:
        farm.new_connections(target)
    assert ask(gateway, route, url.format(*(target.port for target in farm.targets))) == error
    assert sum(map(farm.new_connections, denied)) == 0
