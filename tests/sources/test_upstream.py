"""Who is asked, how patiently, and what is said when nobody answers."""

from __future__ import annotations

import functools
import socket
import time

import pytest

from tests.fault_proxy import FaultProxy, refusing
from tests.sources.conftest import User, nobody_listens
from wagi_gateway.config import RegistryConfig
from wagi_gateway.sources.access import Access
from wagi_gateway.sources.credentials import CredentialSource
from wagi_gateway.sources.errors import Unreachable
from wagi_gateway.sources.reference import ImageReference
from wagi_gateway.sources.registries import Registries
from wagi_gateway.sources.upstream import Upstream


def upstream(user: User) -> Upstream:
    """Upstream as a process has it that has just started."""
    return Upstream(Registries(user.tables, CredentialSource([], user.environ, {}, user.home), user.home))


def digest_now(asked: Upstream, reference: ImageReference, access: Access, _hurry: object) -> str:
    """A question of somebody who has a copy."""
    return asked.digest_now(reference, access)


def test_a_silent_registry_is_asked_once_by_who_has_copies(user: User) -> None:
    with FaultProxy() as proxy:
        proxy.fault(lambda _: True, refusing(503))
        asked = upstream(user)
        access = Access(proxy.address, is_plain=True)
        for version in (":1", ":2", ":3"):
            with pytest.raises(Unreachable):
                asked.digest_now(user.reference(proxy.address, version), access)
        assert len(proxy.received) == 1


def test_the_error_is_about_the_image_that_was_asked_for(user: User) -> None:
    address = nobody_listens()
    asked = upstream(user)
    for version in (":1", ":2"):
        reference = user.reference(address, version)
        with pytest.raises(Unreachable) as caught:
            asked.ask(reference, functools.partial(digest_now, asked, reference), [])
        assert str(caught.value) == f"{reference}: {address} cannot be reached (connection refused)"


def test_a_silent_registry_is_asked_again_by_who_has_nothing(user: User) -> None:
    asked: list[str] = []

    def question(access: Access, _hurry: object) -> None:
        asked.append(access.host)
        raise Unreachable("no answer")

    address, mirror = nobody_listens(), nobody_listens()
    user.tables[address] = RegistryConfig(mirror=mirror)
    registries = upstream(user)
    for _ in range(2):
        with pytest.raises(Unreachable):
            registries.ask(user.reference(address), question, [])
    assert asked == [mirror, address, address], "the mirror's silence is remembered, for there is the registry itself"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "127.0.0.1:99999"])
def test_an_address_that_leads_nowhere(user: User, host: str) -> None:
    with pytest.raises(Unreachable, match="cannot be reached"):
        upstream(user).digest_now(ImageReference("x", "y"), Access(host, is_plain=True))


def test_a_registry_that_takes_no_connection_is_not_waited_for(user: User) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = f"127.0.0.1:{full.getsockname()[1]}"
        # What does not fit the backlog gets no answer, as behind a firewall that drops.
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        start = time.monotonic()
        with pytest.raises(Unreachable, match="no answer in time"):
            upstream(user).digest_now(user.reference(address), Access(address, is_plain=True))
        assert time.monotonic() - start < 3
        for one in waiting:
            one.close()


def test_a_proxy_may_reach_what_we_do_not(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultProxy() as proxy:
        proxy.fault(lambda _: True, refusing(404))
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        with pytest.raises(Exception, match="not"):
            upstream(user).digest_now(
                user.reference("no-such-host.invalid"), Access("no-such-host.invalid", is_plain=True)
            )
        assert proxy.received[0].path.startswith("http://no-such-host.invalid/v2/")
