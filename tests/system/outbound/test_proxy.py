"""`[outbound] proxy`: all calls use the proxy, and are otherwise unchanged."""

from __future__ import annotations

import gc
import ssl
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.conftest import Server, running
from tests.support import clients
from tests.support.clients import Described, IdleWaiter, script
from tests.support.config import config, module
from tests.support.farm import Target, certified
from tests.support.forward_proxy import AUTHORIZATION, Forward
from tests.system.outbound.conftest import Lab
from tests.system.outbound.starting import SERVES_NOTHING, problems, refused
from wagi_gateway.config.settings import Limits
from wagi_gateway.outbound.client import OutboundClient
from wagi_gateway.outbound.errors import RequestFailed
from wagi_gateway.outbound.policy import Policy
from wagi_gateway.outbound.proxy import Proxy
from wagi_gateway.outbound.session import OutboundSession


@dataclass(frozen=True, slots=True)
class Site(clients.Site):
    """A gateway with a proxy for its calls."""

    proxy: Forward
    plain: Target
    secure: Target
    stranger: Target


@pytest.fixture(scope="module")
def site(lab: Lab, caller: Path) -> Site:
    plain, denied = lab.target(), lab.target()
    secure = lab.target(lab.authority.issue_cert("named.test"))
    stranger = lab.target(trustme.CA().issue_cert("named.test"))
    proxy = lab.stack.enter_context(Forward())
    allowed = [f"http://named.test:{plain.port}", plain.url]
    allowed += [f"https://named.test:{target.port}" for target in (secure, stranger)]
    everything = ["insecure:allow-all"]
    text = config(
        module("/caller", caller, allowed_hosts=allowed),
        module("/wild", caller, allowed_hosts=[f"http://*.test:{plain.port}"]),
        module("/all", caller, allowed_hosts=everything),
        module("/private", caller, allowed_hosts=everything, allow_private_networks=True),
        outbound={"proxy": f"http://operator:pass%20word%3A+@127.0.0.1:{proxy.port}", "ca_file": "ca.pem"},
    )
    return Site(lab.serve(text), denied, proxy, plain, secure, stranger)


def heads(site: Site, *lines: str | bytes, path: str = "/caller") -> tuple[list[str], list[list[str]]]:
    """The error codes of these lines, and the request heads at the proxy meanwhile."""
    before = len(site.proxy.heads)
    results = script(site.gateway, *lines, path=path)
    return [words[1] for words in results], site.proxy.heads[before:]


def test_http(site: Site) -> None:
    port = site.plain.port
    codes, asked = heads(site, "body hello", f"req POST http://named.test:{port}/echo?a", "read 9")
    assert codes == ["0", "0"]
    assert [lines[0] for lines in asked] == [f"POST http://named.test:{port}/echo?a HTTP/1.1"]
    received = site.plain.requests[-1]
    assert (received.target, received.body, received.header("host")) == ("/echo?a", b"hello", f"named.test:{port}")
    assert received.header("proxy-authorization") is None


def test_an_address(site: Site) -> None:
    codes, asked = heads(site, f"req GET {site.plain.url}/hello")
    assert (codes, [lines[0] for lines in asked]) == (["0"], [f"GET {site.plain.url}/hello HTTP/1.1"])


def test_https(site: Site) -> None:
    port = site.secure.port
    asked_for = f"req GET https://named.test:{port}/big?size=300000"
    codes, asked = heads(site, "header authorization:Bearer secret", asked_for, "drain 4096")
    assert codes == ["0", "0"]
    assert [lines[0] for lines in asked] == [f"CONNECT named.test:{port} HTTP/1.1"]
    assert "secret" not in str(asked)
    assert site.secure.requests[-1].header("host") == f"named.test:{port}"
    assert site.secure.requests[-1].header("proxy-authorization") is None


def test_certificates_are_verified_through_the_proxy(site: Site) -> None:
    codes, asked = heads(site, f"req GET https://named.test:{site.stranger.port}/hello")
    assert (codes, len(asked)) == (["11"], 1)
    assert site.stranger.requests == []


def test_redirects_are_checked_before_the_proxy_connects(site: Site) -> None:
    begin = f"http://named.test:{site.plain.port}/redirect?to="
    codes, asked = heads(site, f"req GET {begin}{site.denied.url}/hello")
    assert (codes, len(asked)) == (["7"], 1)
    before = len(site.secure.requests)
    codes, asked = heads(site, f"req GET {begin}https://named.test:{site.secure.port}/hello")
    assert (codes, asked[0][0].split()[0]) == (["0"], "GET")
    assert len(site.secure.requests) - before == 1, "perhaps through a tunnel that was kept"
    assert site.denied.connections() == 0


@pytest.mark.parametrize(
    ("path", "host", "code"),
    [
        ("/wild", "a.test", "7"),
        ("/all", "a.test", "7"),
        ("/all", "127.0.0.1", "7"),
        ("/private", "a.test", "0"),
        ("/private", "127.0.0.1", "0"),
    ],
)
def test_wildcards_need_allow_private_networks(site: Site, path: str, host: str, code: str) -> None:
    codes, asked = heads(site, f"req GET http://{host}:{site.plain.port}/hello", path=path)
    assert (codes, len(asked)) == ([code], 0 if code == "7" else 1)


def test_the_site_is_warned_of_wildcards(site: Site) -> None:
    assert site.gateway.log.count("because outbound.proxy resolves it; set allow_private_networks = true") == 2


def test_the_password_is_in_no_output(site: Site) -> None:
    for url in (f"http://named.test:{site.plain.port}/headers?x=1", f"https://named.test:{site.secure.port}/hello"):
        codes, _ = heads(site, f"req GET {url}", "all 60000")
        assert codes == ["0", "0"]
    everything = site.gateway.log + "\n".join(site.gateway.stdout)
    for secret in ("pass word", "pass%20word", AUTHORIZATION.split()[1]):
        assert secret not in everything


@pytest.fixture
def no_proxy(tmp_path: Path, cache: Path, caller: Path) -> Iterator[Server]:
    """A gateway whose proxy refuses its password."""
    with Forward() as proxy:
        outbound = {"proxy": f"http://operator:wrong@127.0.0.1:{proxy.port}"}
        text = config(module("/caller", caller, allowed_hosts=["named.test"]), outbound=outbound)
        with running(tmp_path, text, cache=cache) as gateway:
            yield gateway


def test_a_proxy_that_refuses(no_proxy: Server) -> None:
    assert script(no_proxy, "req GET http://named.test/")[0][:3] == ["req", "0", "407"]
    assert script(no_proxy, "req GET https://named.test/")[0][:2] == ["req", "11"]
    no_proxy.wait_for_log(r"call GET https://named\.test outcome=failed .*407")
    assert "wrong" not in no_proxy.log


def test_a_password_in_any_script(tmp_path: Path, cache: Path, caller: Path) -> None:
    with Target() as target, Forward("Basic " + b64encode("opé:ñ".encode()).decode()) as proxy:
        outbound = {"proxy": f"http://op%C3%A9:%C3%B1@127.0.0.1:{proxy.port}"}
        text = config(module("/caller", caller, allowed_hosts=[target.url]), outbound=outbound)
        with running(tmp_path, text, cache=cache) as gateway:
            assert script(gateway, f"req GET {target.url}/hello")[0][:3] == ["req", "0", "200"]


def test_a_handshake_that_fails_leaves_nothing_behind() -> None:
    def call(times: int) -> int:
        for _ in range(times):
            session = OutboundSession(client, lambda call: outcomes.append(call.outcome))
            with pytest.raises(RequestFailed, match="certificate"):
                session.request(Described(f"https://named.test:{stranger.port}/hello"), IdleWaiter())
            session.end()
        gc.collect()
        return sum(str(type(thing).__module__).startswith("httpcore2") for thing in gc.get_objects())

    outcomes: list[str] = []
    with Target(tls=certified(trustme.CA().issue_cert("named.test"))) as stranger, Forward() as proxy:
        client = OutboundClient(
            Policy([f"https://named.test:{stranger.port}"]),
            Limits(),
            1,
            ssl_context=ssl.create_default_context(),
            proxy=Proxy.parse(f"http://operator:pass%20word%3A+@127.0.0.1:{proxy.port}"),
        )
        assert call(5) >= call(20)
        client.close()
    assert outcomes == ["failed"] * 25


# Start-up


def refuse_proxy(proxy: str) -> str:
    """A configuration with a proxy that is refused."""
    return f'[outbound]\nproxy = "{proxy}"\n{SERVES_NOTHING}'


def check_refusal(output: str) -> None:
    assert 'write for example "http://proxy.example.com:3128"' in output
    assert "modules.toml" in output
    assert "outbound.proxy" in output
    assert "secret" not in output


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_bad_proxy_is_an_error_of_every_command(tmp_path: Path, command: str) -> None:
    check_refusal(refused(tmp_path, refuse_proxy("operator:secret@proxy.test:3128"), command=command))


@pytest.mark.parametrize(
    "proxy",
    [
        "operator:secret@proxy.test:3128",
        "https://operator:secret@proxy.test",
        "socks5://operator:secret@proxy.test",
        "http://operator:secret@proxy.test/path",
        "http://operator:secret@proxy.test?query",
        "http://operator:secret@",
        "http://operator:secret@proxy.test:99999",
        "secret",
    ],
)
def test_a_bad_proxy_is_an_error_at_start_up(tmp_path: Path, proxy: str) -> None:
    check_refusal(problems(tmp_path, refuse_proxy(proxy)))
