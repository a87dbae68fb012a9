"""Calls over TLS: verification of certificates, and the ClientHello."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.conftest import Server
from tests.support.clients import script
from tests.support.config import config, module
from tests.support.farm import Target, certified
from tests.system.outbound.conftest import Lab
from tests.system.outbound.starting import SERVES_NOTHING, problems, refused
from wagi_gateway.tls import create_context


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway with one private authority, and servers with valid and invalid certificates."""

    gateway: Server
    targets: dict[str, Target]
    names: list[str | None]
    """The SNI host names of the clients of `named`, in order."""


@pytest.fixture(scope="module")
def site(lab: Lab, caller: Path) -> Site:
    authority, stranger = lab.authority, trustme.CA()
    yesterday = datetime.now(UTC) - timedelta(days=1)
    certificates = {
        "named": authority.issue_cert("localhost"),
        "addressed": authority.issue_cert("127.0.0.1"),
        "unknown": stranger.issue_cert("localhost", "127.0.0.1"),
        "misnamed": authority.issue_cert("other.test"),
        "common": authority.issue_cert("other.test", common_name="localhost"),
        "expired": authority.issue_cert("localhost", "127.0.0.1", not_after=yesterday),
    }
    names: list[str | None] = []
    targets = {name: lab.target(certificate) for name, certificate in certificates.items()}
    tls = targets["named"].tls
    assert tls
    tls.sni_callback = lambda _connection, name, _context: names.append(name)
    allowed = [f"https://{host}:{target.port}" for target in targets.values() for host in ("localhost", "127.0.0.1")]
    text = config(module("/caller", caller, allowed_hosts=allowed), outbound={"ca_file": "ca.pem"})
    return Site(lab.serve(text), targets, names)


@pytest.mark.parametrize(
    ("name", "host", "code"),
    [
        ("named", "localhost", 0),
        ("addressed", "127.0.0.1", 0),
        ("named", "127.0.0.1", 11),
        ("addressed", "localhost", 11),
        *(
            (name, host, 11)
            for name in ("unknown", "misnamed", "common", "expired")
            for host in ("localhost", "127.0.0.1")
        ),
    ],
)
def test_certificates(site: Site, name: str, host: str, code: int) -> None:
    target = site.targets[name]
    before = len(target.requests)
    results = script(site.gateway, f"req GET https://{host}:{target.port}/hello", "drain 100")
    assert results[0][1] == str(code)
    assert len(target.requests) - before == (0 if code else 1)
    if code:
        site.gateway.wait_for_log(
            rf'WARNING call GET https://{host}:{target.port} outcome=failed .*reason="{host}: .*certificate'
        )


def test_the_client_hello(site: Site) -> None:
    target = site.targets["named"]
    assert script(site.gateway, f"req GET https://LOCALHOST.:{target.port}/hello")[0][1] == "0"
    assert "localhost" in site.names, "the connection may be one that was kept"
    assert set(site.names) <= {"localhost", None}, "an address is no name"
    assert target.requests[-1].header("host") == f"localhost:{target.port}"


def test_alpn_is_set_once() -> None:
    """ALPN is set once: HTTP clients set it for each connection, while OpenSSL copies it for a concurrent one."""
    authority = trustme.CA()
    ours, theirs = create_context(), certified(authority.issue_cert("name.test"))
    authority.configure_trust(ours)
    theirs.set_alpn_protocols(["h2", "http/1.1"])
    ours.set_alpn_protocols(["h2"])
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ours.wrap_bio(one, other, server_hostname="name.test")
    server = theirs.wrap_bio(other, one, server_side=True)
    for side in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert (client.version(), server.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")


def test_http_is_not_spoken_to_a_tls_port(site: Site) -> None:
    plain = f"http://localhost:{site.targets['named'].port}/hello"
    assert script(site.gateway, f"req GET {plain}")[0][1] == "7"


def test_a_redirect_from_tls_is_verified_too(site: Site) -> None:
    to = f"https://localhost:{site.targets['expired'].port}/hello"
    url = f"https://localhost:{site.targets['named'].port}/redirect?to={to}"
    assert script(site.gateway, f"req GET {url}")[0][1] == "11"
    assert site.targets["expired"].requests == []


# Start-up


def check_refusal(output: str, said: str) -> None:
    assert said in output
    assert "modules.toml" in output
    assert "ca_file" in output
    assert "outbound" in output


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_bad_ca_file_is_an_error_of_every_command(tmp_path: Path, command: str) -> None:
    config = f'[outbound]\nca_file = "absent.pem"\n{SERVES_NOTHING}'
    check_refusal(refused(tmp_path, config, command=command), "No such file or directory")


@pytest.mark.parametrize(
    ("ca_file", "said"),
    [
        ("absent.pem", "No such file or directory"),
        (".", "Is a directory"),
        ("empty.pem", "holds no certificate in PEM form"),
        ("modules.toml", "holds no certificate in PEM form"),
        ("", "ca_file"),
        pytest.param("a\\u0000b", "null byte", id="nul"),
    ],
)
def test_a_bad_ca_file_is_an_error_at_start_up(tmp_path: Path, ca_file: str, said: str) -> None:
    (tmp_path / "empty.pem").touch()
    check_refusal(problems(tmp_path, f'[outbound]\nca_file = "{ca_file}"\n{SERVES_NOTHING}'), said)
