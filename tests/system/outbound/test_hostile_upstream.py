"""No client gets another's answer, whatever an upstream sends after its responses (RFC 9112 sections 6.3, 9.2, 9.8)."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlencode

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Server
from tests.support import hostile
from tests.support.attacks import together
from tests.support.clients import Described, IdleWaiter, script
from tests.support.config import config, module
from tests.support.farm import certified
from tests.support.hostile import BROKEN, CLEAN, ENDS, FRAMINGS, LAST, MOMENTS, REFUSED, STRANGER, SURPLUS, Hostile
from tests.system.outbound.conftest import Lab
from wagi_gateway.config.settings import Limits
from wagi_gateway.outbound.client import OutboundClient
from wagi_gateway.outbound.errors import OutboundError
from wagi_gateway.outbound.policy import Policy
from wagi_gateway.outbound.session import OutboundSession

NAMES = ("alice", "bob", "carol")


@dataclass(frozen=True, slots=True)
class Turn:
    """A call of a client, and what the upstream does with it."""

    name: str
    method: str = "GET"
    plan: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def target(self) -> str:
        """The path and query of the call's URL."""
        return f"/{self.name}?{urlencode(self.plan)}"


@dataclass(slots=True)
class World:
    """One module's client, an upstream, and a session for each client."""

    upstream: Hostile
    client: OutboundClient
    sessions: dict[str, OutboundSession] = field(default_factory=dict)
    guest: IdleWaiter = field(default_factory=IdleWaiter)

    def call(self, turn: Turn) -> str | None:
        """Makes a call; returns the text of header fields and body, as far as they come, or None without a response."""
        session = self.sessions.setdefault(turn.name, OutboundSession(self.client, lambda _: None))
        try:
            arguments = Described(self.upstream.url + turn.target(), turn.method, turn.body)
            _, handle = session.request(arguments, self.guest)
        except OutboundError:
            return None
        found = session.headers(handle)
        with suppress(OutboundError):
            while piece := session.read(handle, 4096):
                found += piece
        session.close(handle)
        return found.decode()


class Contexts(NamedTuple):
    """The TLS contexts of an upstream and of its clients; none for plain HTTP."""

    server: ssl.SSLContext | None
    client: ssl.SSLContext | None


@contextmanager
def world(tls: Contexts) -> Iterator[World]:
    """An upstream, and a client that may call it."""
    with Hostile(tls.server) as upstream:
        limits = Limits(http_time=10, http_calls=100_000)
        client = OutboundClient(Policy([upstream.url]), limits, 16, ssl_context=tls.client)
        made = World(upstream, client)
        try:
            yield made
        finally:
            for session in made.sessions.values():
                session.end()
            client.close()


@pytest.fixture(scope="module", params=["plain", "tls"])
def tls(request: pytest.FixtureRequest) -> Contexts:
    if request.param == "plain":
        return Contexts(None, None)
    authority, client = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return Contexts(certified(authority.issue_cert("127.0.0.1")), client)


def assert_own(turn: Turn, answer: str | None) -> None:
    """Fails if a client got anything that belongs to another."""
    if answer is None:
        return
    assert f"x-for:{turn.name}\n" in answer, f"{turn} was answered {answer!r}"
    for other in {*NAMES, STRANGER} - {turn.name}:
        assert other not in answer, f"{turn} was answered {answer!r}"


# What is used again

KEPT = [pytest.param({"framing": name}, id=name) for name in CLEAN]
NOT_KEPT = [
    *(pytest.param({"framing": name}, id=name) for name in {**LAST, **REFUSED, **BROKEN}),
    *(
        pytest.param({"framing": framing, "surplus": surplus, "moment": moment}, id=f"{framing}-{surplus}-{moment}")
        for framing in ("length", "chunked", "304")
        for surplus in SURPLUS
        if surplus != "none"
        for moment in MOMENTS
    ),
    *(pytest.param({"end": end}, id=f"end-{end}") for end in ENDS if end != "none"),
    *(pytest.param({"surplus": "answer", "end": end}, id=f"answer-end-{end}") for end in ENDS if end != "none"),
]


@pytest.mark.parametrize("plan", KEPT)
def test_a_connection_with_nothing_left_over_is_used_again(tls: Contexts, plan: dict[str, str]) -> None:
    with world(tls) as way:
        for turn in (Turn("alice", plan=plan), Turn("bob", plan=plan), Turn("carol", "POST", plan, b"body")):
            answer = way.call(turn)
            assert answer
            assert_own(turn, answer)
        assert way.upstream.accepted == 1


@pytest.mark.parametrize("plan", NOT_KEPT)
def test_a_connection_with_anything_left_over_is_not_used_again(tls: Contexts, plan: dict[str, str]) -> None:
    with world(tls) as way:
        first = Turn("alice", plan=plan)
        assert_own(first, way.call(first))
        way.upstream.wait_until_quiet()
        for turn in (Turn("bob", "POST", body=b"once"), Turn("carol")):
            answer = way.call(turn)
            assert answer
            assert_own(turn, answer)
        assert way.upstream.accepted == 2, "the first connection is closed, the second used again"
        assert way.upstream.received == 3, "no call was repeated"


@pytest.mark.parametrize("surplus", [name for name in SURPLUS if name != "none"])
def test_what_follows_in_a_segment_of_its_own_is_found_before_the_next_request(tls: Contexts, surplus: str) -> None:
    """Nagle's algorithm holds it back until the response is acknowledged, which must not wait for the next request."""
    with world(tls) as way:
        for turn in (Turn("alice"), Turn("bob", plan={"surplus": surplus, "moment": "later"}), Turn("carol")):
            answer = way.call(turn)
            assert answer
            assert_own(turn, answer)
            way.upstream.wait_until_quiet()
        assert way.upstream.accepted == 2


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_after_head_is_left_over(tls: Contexts, framing: str) -> None:
    with world(tls) as way:
        for turn in (Turn("alice", "HEAD", {"framing": framing}), Turn("bob")):
            answer = way.call(turn)
            assert answer
            assert_own(turn, answer)
            way.upstream.wait_until_quiet()
        assert way.upstream.accepted == 2


@pytest.mark.parametrize("end", ["half", "close", "cut"])
def test_a_body_without_length_is_whole_at_the_closure_alert_alone(tls: Contexts, end: str) -> None:
    """RFC 9112 section 9.8: over TLS, the end of the TCP connection alone does not end the body."""
    with world(tls) as way:
        session = OutboundSession(way.client, lambda _: None)
        turn = Turn("alice", plan={"framing": "until-close", "end": end})
        handle = session.request(Described(way.upstream.url + turn.target()), way.guest)[1]
        assert bytes(session.read(handle, 4096)) == hostile.body_for("alice")
        if tls.client and end == "cut":
            with pytest.raises(OutboundError) as raised:
                session.read(handle, 4096)
            assert raised.value.code == 12
        else:
            assert not session.read(handle, 4096)
        session.end()
        answer = way.call(Turn("bob"))
        assert answer
        assert way.upstream.accepted == 2


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_cut_after_the_end_of_a_body_is_no_error(tls: Contexts, framing: str) -> None:
    with world(tls) as way:
        turn = Turn("alice", plan={"framing": framing, "end": "cut"})
        answer = way.call(turn)
        assert answer
        assert answer.endswith(hostile.body_for("alice").decode())


@pytest.mark.parametrize("framing", LAST)
def test_an_answer_in_doubt_is_delivered(tls: Contexts, framing: str) -> None:
    with world(tls) as way:
        turn = Turn("alice", plan={"framing": framing})
        answer = way.call(turn)
        assert answer
        assert_own(turn, answer)
        if framing.startswith("both"):
            assert answer.endswith(hostile.body_for("alice").decode()), "Transfer-Encoding overrides Content-Length"
            assert "content-length" not in answer


@pytest.mark.parametrize("framing", REFUSED)
def test_what_is_no_response_is_an_error(tls: Contexts, framing: str) -> None:
    with world(tls) as way:
        assert way.call(Turn("alice", plan={"framing": framing, "end": "half"})) is None


@pytest.mark.parametrize("framing", BROKEN)
def test_a_malformed_chunk_is_an_error(tls: Contexts, framing: str) -> None:
    with world(tls) as way:
        session = OutboundSession(way.client, lambda _: None)
        turn = Turn("alice", plan={"framing": framing})
        handle = session.request(Described(way.upstream.url + turn.target()), way.guest)[1]
        with pytest.raises(OutboundError) as raised:
            b"".join(iter(lambda: bytes(session.read(handle, 4096)), b""))
        assert raised.value.code == 12
        session.end()


def test_a_response_before_the_request_was_sent_whole(tls: Contexts) -> None:
    """An upstream that answers the head alone may take the body for the next request."""
    with world(tls) as way:
        body = f"GET /{STRANGER} HTTP/1.1\r\nhost: a\r\n\r\n".encode() * 600_000
        first = Turn("alice", "POST", {"delay": "early"}, body)
        answer = way.call(first)
        assert answer
        assert_own(first, answer)
        way.upstream.wait_until_quiet()
        assert way.call(Turn("bob"))
        assert way.upstream.accepted == 2


# Any order of any calls

TURNS = st.builds(
    Turn,
    st.sampled_from(NAMES),
    st.sampled_from(["GET", "GET", "POST", "HEAD", "PUT", "BREW"]),
    st.fixed_dictionaries(
        {},
        optional={
            "framing": st.sampled_from([*CLEAN] * 2 + [*FRAMINGS]),
            "surplus": st.sampled_from(["none"] * 5 + [*SURPLUS]),
            "moment": st.sampled_from(MOMENTS),
            "end": st.sampled_from(["none"] * 5 + [*ENDS]),
            "delay": st.sampled_from(["none", "none", "early"]),
        },
    ),
    st.sampled_from([b"", b"body", f"GET /{STRANGER} HTTP/1.1\r\nhost: a\r\n\r\n".encode()]),
)


def test_no_client_gets_anothers_answer(tls: Contexts) -> None:
    seen: Counter[str] = Counter()

    @given(st.lists(TURNS, min_size=2, max_size=8))
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def holds(turns: list[Turn]) -> None:
        with world(tls) as way:
            for turn in turns:
                answer = way.call(turn)
                assert_own(turn, answer)
                way.upstream.wait_until_quiet()
                seen["answered" if answer else "failed"] += 1
            seen["used again"] += way.upstream.accepted < way.upstream.received

    holds()
    assert set(+seen) == {"answered", "failed", "used again"}, f"no example was about something: {seen}"


def test_no_guest_gets_anothers_answer_at_the_same_time(tls: Contexts) -> None:
    """Eight sessions share the connections of one module. An upstream that adds its surplus in a segment of its own
    could be too late to be found out, so here it comes with the response."""
    plans = [{"framing": framing, "surplus": surplus} for framing in CLEAN for surplus in ("none", "none", *SURPLUS)]
    plans += [{"framing": framing} for framing in FRAMINGS]

    def work(number: int) -> int:
        answered = 0
        session = World(way.upstream, way.client)
        for plan in plans[number % 3 :: 3]:
            turn = Turn(NAMES[number % 3], plan=plan)
            answer = session.call(turn)
            assert_own(turn, answer)
            answered += bool(answer)
        for open_session in session.sessions.values():
            open_session.end()
        return answered

    with world(tls) as way:
        assert min(together(8, work)) > 20
        assert way.upstream.accepted < way.upstream.received


# A gateway


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway, and hostile upstreams."""

    gateway: Server
    upstreams: dict[str, Hostile]


@pytest.fixture(scope="module")
def site(lab: Lab, caller: Path) -> Site:
    upstreams = {
        "plain": lab.stack.enter_context(Hostile()),
        "tls": lab.stack.enter_context(Hostile(certified(lab.authority.issue_cert("127.0.0.1")))),
    }
    allowed = [upstream.url for upstream in upstreams.values()]
    text = config(module("/caller", caller, allowed_hosts=allowed), outbound={"ca_file": "ca.pem"})
    return Site(lab.serve(text), upstreams)


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_no_client_of_a_gateway_gets_anothers_answer(site: Site, kind: str) -> None:
    plans = [{"surplus": surplus, "moment": moment} for surplus in SURPLUS for moment in MOMENTS]
    plans += [{"framing": framing} for framing in FRAMINGS]
    upstream = site.upstreams[kind]
    for plan in plans:
        for name, again in (("alice", plan), ("bob", {}), ("carol", {})):
            turn = Turn(name, plan=again)
            results = script(site.gateway, f"req GET {upstream.url}{turn.target()}", "all 4096", "read 4096")
            assert results[0][1] == "0" or again
            assert_own(turn, unquote(results[1][3] + results[2][3]) if results[0][1] == "0" else None)
            upstream.wait_until_quiet()
    assert upstream.accepted < upstream.received
