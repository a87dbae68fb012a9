"""The gateway's own TLS: valid and refused certificates, the view of clients and guests, and renewal."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import httpx
import pytest
import trustme

from tests.conftest import Server, running, wait_until
from tests.support.config import config, module
from tests.support.env_guest import ENV, seen
from wagi_gateway import tls
from wagi_gateway.config.file import read_config
from wagi_gateway.config.settings import ServerConfig as Settings
from wagi_gateway.errors import StartupError
from wagi_gateway.site.load import load


def configuration(**settings: object) -> str:
    """The `modules.toml` of a server with TLS and these settings."""
    server = {"tls_cert": "certificate.pem", "tls_key": "key.pem", **settings}
    return config(module("/...", "env.wat"), server=server)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def folder(tmp_path: Path, authority: trustme.CA) -> Path:
    """A folder with a certificate, its key and a guest."""
    (tmp_path / "env.wat").write_text(ENV)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    issue(tmp_path, authority, "localhost", "127.0.0.1")
    return tmp_path


def issue(folder: Path, authority: trustme.CA, *names: str, days: float = 90) -> None:
    ends = datetime.now(UTC) + timedelta(days=days)
    issued = authority.issue_cert(*names, common_name=names[0], not_before=ends - timedelta(days=365), not_after=ends)
    (folder / "certificate.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA, cache: Path) -> Iterator[Server]:
    """A server with a certificate for localhost."""
    directory = tmp_path_factory.mktemp("tls")
    (directory / "env.wat").write_text(ENV)
    issue(directory, authority, "localhost", "127.0.0.1")
    with running(directory, configuration(), cache=cache) as server:
        yield server


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "authority.pem"))


def names(server: Server, folder: Path) -> list[str]:
    """The names in the certificate of a new connection."""
    context = trusting(folder)
    context.check_hostname = False
    with server.connect() as plain, context.wrap_socket(plain, server_hostname="localhost") as connection:
        certificate = connection.getpeercert()
    assert certificate
    alternatives = cast(tuple[tuple[str, str], ...], certificate["subjectAltName"])
    return [value for kind, value in alternatives if kind == "DNS"]


def test_what_a_guest_sees(server: Server, folder: Path) -> None:
    port = server.address[1]
    assert server.url == f"https://127.0.0.1:{port}"
    with httpx.Client(verify=trusting(folder), trust_env=False) as client:
        answers = [client.get(f"https://localhost:{port}/a?b") for _ in range(3)]
        unnamed = client.get(f"https://localhost:{port}/", headers={"host": "a.example"})
    given = seen(answers[0].content)
    expected = {
        "HTTPS": b"on",
        "REQUEST_SCHEME": b"https",
        "SERVER_NAME": b"localhost",
        "SERVER_PORT": b"%d" % port,
        "X_FULL_URL": b"https://localhost:%d/a?b" % port,
        "REMOTE_ADDR": b"127.0.0.1",
    }
    assert {name: given[name] for name in expected} == expected
    given = seen(unnamed.content)
    assert (given["SERVER_PORT"], given["X_FULL_URL"]) == (b"443", b"https://a.example:443/")
    assert {answer.http_version for answer in answers} == {"HTTP/1.1"}


def test_curl(server: Server, folder: Path) -> None:
    url = f"https://localhost:{server.address[1]}/"
    command = [
        "curl",
        "-sS",
        "--http2",
        "--cacert",
        str(folder / "authority.pem"),
        "--data-binary",
        "@-",
        "-o",
        "-",
        url,
    ]
    body = bytes(range(256)) * 4000
    assert seen(subprocess.run(command, input=body, stdout=subprocess.PIPE, check=True).stdout).stdin == body


@pytest.mark.parametrize(
    ("option", "is_spoken"), [("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)], ids=lambda value: str(value)
)
def test_versions(server: Server, folder: Path, option: str, is_spoken: bool) -> None:
    command = [
        "openssl",
        "s_client",
        "-connect",
        f"localhost:{server.address[1]}",
        "-CAfile",
        str(folder / "authority.pem"),
    ]
    command += [option, "-cipher", "DEFAULT@SECLEVEL=0", "-alpn", "h2,http/1.1"]
    result = subprocess.run(command, input=b"Q\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    assert (b"Verify return code: 0 (ok)" in result.stdout and b"Cipher is (NONE)" not in result.stdout) == is_spoken
    assert (b"ALPN protocol: http/1.1" in result.stdout) == is_spoken


@pytest.mark.parametrize(
    "request_",
    [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"POST /x HTTP/1.0\r\nContent-Length: 9\r\n\r\n", b"PROPFIND / ", b"g"],
    ids=["GET", "POST", "incomplete", "a letter"],
)
def test_plain_http_on_the_port_of_https(server: Server, request_: bytes) -> None:
    warning = r'WARNING .*client=127\.0\.0\.1 reason="The plain HTTP request was sent to HTTPS port"'
    before = len(re.findall(warning, server.log))
    answer = server.exchange(request_)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"\r\n\r\nThe plain HTTP request was sent to HTTPS port\n")
    wait_until(lambda: len(re.findall(warning, server.log)) == before + 1, message=lambda: server.log)
    assert "Traceback" not in server.log


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x16\x03\x01\x00\x05hello", b" GET / HTTP/1.1\r\n\r\n"], ids=repr)
def test_what_is_neither_tls_nor_http_is_not_answered(server: Server, folder: Path, data: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in connection.recv(65536)
    assert names(server, folder) == ["localhost"]
    assert "Traceback" not in server.log


def test_a_client_that_says_nothing_has_head_time(folder: Path, cache: Path) -> None:
    with running(folder, configuration(head_time="1s"), cache=cache) as server:
        assert b"HTTP" not in server.exchange(b"", timeout=30)
        assert names(server, folder) == ["localhost"]


def test_certificate_and_key_in_one_file(folder: Path, cache: Path) -> None:
    pem = folder / "both.pem"
    pem.write_bytes((folder / "certificate.pem").read_bytes() + (folder / "key.pem").read_bytes())
    text = config(module("/...", "env.wat"), server={"tls_cert": "both.pem"})
    with running(folder, text, cache=cache) as server:
        assert names(server, folder) == ["localhost"]


def test_over_a_unix_socket(folder: Path, cache: Path) -> None:
    path = folder / "s"
    with running(folder, configuration(), cache=cache, listen=f"unix:{path}") as server:
        assert server.url == f"https://unix:{path}"
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path), verify=trusting(folder))) as client:
            given = seen(client.get("https://localhost/").content)
    assert (given["HTTPS"], given["SERVER_PORT"], given["REMOTE_ADDR"]) == (b"on", b"443", b"127.0.0.1")


def test_a_certificate_is_renewed_on_the_same_context(folder: Path, authority: trustme.CA) -> None:
    certificate = tls.Certificate(tls.read(settings(folder), folder))
    shown = []
    for name in ("localhost", "new.example"):
        issue(folder, authority, name)
        certificate.renew(tls.read(settings(folder), folder))
        shown.append(handshake(certificate.context, trusting(folder), name))
    assert shown == ["localhost", "new.example"]


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str:
    """The name in the certificate of a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    client_side = client.wrap_bio(to_client, to_server, server_hostname=name)
    for side in (client_side, server_side, client_side, server_side):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    certificate = client_side.getpeercert()
    assert certificate
    return str(certificate["subjectAltName"][0][1])


@pytest.mark.parametrize("workers", [1, 2])
def test_renewal(folder: Path, cache: Path, authority: trustme.CA, workers: int) -> None:
    with running(folder, configuration(workers=workers), cache=cache) as server:
        assert names(server, folder) == ["localhost"]

        def is_renewed() -> bool:
            return all(names(server, folder) == ["localhost", "new.example"] for _ in range(10))

        with httpx.Client(verify=trusting(folder), trust_env=False) as client:
            url = f"https://localhost:{server.address[1]}/"
            assert client.get(url).status_code == 200
            issue(folder, authority, "localhost", "new.example")
            server.process.send_signal(signal.SIGHUP)
            wait_until(is_renewed, 30, lambda: server.log)
            assert client.get(url).status_code == 200
        (folder / "key.pem").write_text("broken")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log('server.tls_key = "key.pem": there is no private key in it')
        assert is_renewed()


def settings(folder: Path, key: str | None = "key.pem") -> Settings:
    assert folder
    return Settings(tls_cert="certificate.pem", tls_key=key)


ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
BROKEN_KEY = ENCRYPTED.replace(b"ENCRYPTED ", b"")
BROKEN = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("file", "data", "what"),
    [
        ("key.pem", None, 'server.tls_key = "key.pem": cannot be read: No such file or directory'),
        ("certificate.pem", None, 'server.tls_cert = "certificate.pem": cannot be read: No such file or directory'),
        ("key.pem", b"", 'server.tls_key = "key.pem": there is no private key in it'),
        ("key.pem", b" \n", 'server.tls_key = "key.pem": there is no private key in it (PEM); it is empty'),
        ("certificate.pem", b"\xff", 'server.tls_cert = "certificate.pem": there is no certificate in it'),
        ("key.pem", ENCRYPTED, 'server.tls_key = "key.pem": the private key has a passphrase'),
        ("certificate.pem", BROKEN, 'server.tls_cert = "certificate.pem": the certificate is damaged'),
        (
            "key.pem",
            BROKEN_KEY,
            'server.tls_key = "key.pem": the private key is damaged',
        ),
    ],
)
def test_files_that_do_not_do(folder: Path, file: str, data: bytes | None, what: str) -> None:
    (folder / file).unlink()
    if data is not None:
        (folder / file).write_bytes(data)
    with pytest.raises(StartupError) as error:
        tls.read(settings(folder), folder)
    assert str(error.value).startswith(what)


def test_a_key_of_another_certificate(folder: Path, authority: trustme.CA) -> None:
    authority.issue_cert("other").private_key_pem.write_to_path(str(folder / "key.pem"))
    with pytest.raises(StartupError, match=r'"key\.pem": the private key is not that of the certificate'):
        tls.read(settings(folder), folder)


def test_a_key_that_is_missing(folder: Path) -> None:
    with pytest.raises(StartupError, match=r'"certificate\.pem": there is no private key in it.*server.tls_key'):
        tls.read(settings(folder, None), folder)
    with pytest.raises(StartupError, match=r"there is no server\.tls_cert beside it"):
        tls.read(Settings(tls_key="key.pem"), folder)


def test_what_else_is_in_the_files_is_not_used(folder: Path, authority: trustme.CA) -> None:
    other = authority.issue_cert("other").private_key_and_cert_chain_pem.bytes()
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(authority.issue_cert("x").private_key_pem.bytes() + certificate.read_bytes())
    key.write_bytes(key.read_bytes() + other)
    assert tls.read(settings(folder), folder).count(b"BEGIN") == 2


def test_check_names_the_file(folder: Path, cache: Path) -> None:
    (folder / "modules.toml").write_text(configuration())
    (folder / "key.pem").unlink()
    command = [sys.executable, "-m", "wagi_gateway", "check", str(folder / "modules.toml"), "--cache-dir", str(cache)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "400"})
    assert result.returncode == 1
    assert 'server.tls_key = "key.pem": cannot be read: No such file or directory' in result.stdout


@pytest.mark.parametrize("option", ["--tls-key", "--tls-cert"])
def test_a_file_of_an_option_is_named_by_the_option(folder: Path, cache: Path, option: str) -> None:
    (folder / "modules.toml").write_text(configuration())
    options = [option, "missing.pem", "--log-dir", "env.wat", "--cache-dir", str(cache)]
    command = [sys.executable, "-m", "wagi_gateway", "serve", str(folder / "modules.toml"), *options]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=folder)
    assert result.returncode == 3
    missing = f'error: command line: {option} "{folder / "missing.pem"}": cannot be read: No such file or directory'
    assert result.stderr.splitlines()[0] == missing
    assert f'error: command line: --log-dir "{folder / "env.wat"}": ' in result.stderr
    assert "modules.toml" not in result.stderr


def issued(folder: Path, name: str, key: str) -> tuple[bytes, bytes]:
    """A self-signed certificate and its key, as `openssl req` makes them for `rsa:2048` or a curve."""
    kind = ["-newkey", key] if ":" in key else ["-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{key}"]
    files = [folder / f"{name}.crt", folder / f"{name}.key"]
    command = ["openssl", "req", "-x509", *kind, "-noenc", "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run([*command, "-subj", f"/CN={name}"], check=True, capture_output=True, timeout=60)
    return files[0].read_bytes(), files[1].read_bytes()


def converted(folder: Path, *arguments: str) -> bytes:
    """The certificate and key of the folder after a command of openssl."""
    command = ["openssl", *arguments]
    return subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=60).stdout


PKCS12 = ["pkcs12", "-export", "-in", "certificate.pem", "-inkey", "key.pem", "-passout", "pass:"]


@pytest.mark.parametrize(
    ("name", "command", "what"),
    [
        ("tls_cert", ["x509", "-trustout", "-in", "certificate.pem"], "openssl x509 -in certificate.pem -out NEW.pem"),
        ("tls_cert", ["x509", "-outform", "DER", "-in", "certificate.pem"], "DER form.*openssl x509 -inform DER"),
        ("tls_cert", ["crl2pkcs7", "-nocrl", "-certfile", "certificate.pem"], "openssl pkcs7 -print_certs"),
        ("tls_cert", PKCS12, "openssl pkcs12 -in certificate.pem"),
        ("tls_cert", ["req", "-new", "-key", "key.pem", "-subj", "/CN=a"], "no certificate in it.*the request for one"),
        ("tls_cert", ["pkey", "-in", "key.pem"], "no certificate in it.*a private key, which belongs into tls_key"),
        ("tls_key", ["pkey", "-in", "key.pem", "-pubout"], "no private key in it.*a public key"),
        ("tls_key", ["pkey", "-in", "key.pem", "-outform", "DER"], "DER form.*openssl pkey -inform DER"),
        ("tls_key", ["x509", "-in", "certificate.pem"], "no private key in it.*a certificate, which belongs into"),
        ("tls_key", PKCS12, "openssl pkcs12 -in key.pem"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_another_form_gets_the_command_that_converts_it(folder: Path, name: str, command: list[str], what: str) -> None:
    file = "certificate.pem" if name == "tls_cert" else "key.pem"
    (folder / file).write_bytes(converted(folder, *command))
    with pytest.raises(StartupError, match=rf'server\.{name} = "{file}": .*{what}'):
        tls.read(settings(folder), folder)


def test_a_key_of_openssh(folder: Path) -> None:
    (folder / "key.pem").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(StartupError, match=r"ssh-keygen -p -m PEM -f key\.pem"):
        tls.read(settings(folder), folder)


def test_a_key_that_is_too_small(folder: Path) -> None:
    certificate, key = issued(folder, "small", "rsa:1024")
    (folder / "certificate.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    with pytest.raises(StartupError, match=r'"certificate\.pem": the certificate\'s key is too small .*2048 bits'):
        tls.read(settings(folder), folder)


@pytest.mark.parametrize("key", ["rsa:2048", "P-256"])
def test_a_key_of_another_kind(folder: Path, key: str) -> None:
    (folder / "certificate.pem").write_bytes(issued(folder, "one", key)[0])
    (folder / "key.pem").write_bytes(issued(folder, "two", "P-384" if ":" in key else "rsa:2048")[1])
    with pytest.raises(StartupError, match=r'"key\.pem": the private key is not that of the certificate'):
        tls.read(settings(folder), folder)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_a_chain_in_any_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    root = trustme.CA()
    middle = root.create_child_ca()
    lower = middle.create_child_ca()
    leaf = lower.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    chain = [leaf.cert_chain_pems[0], lower.cert_pem, middle.cert_pem, root.cert_pem]
    (tmp_path / "certificate.pem").write_bytes(b"".join(chain[index].bytes() for index in order))
    pem = tls.read(settings(tmp_path), tmp_path)
    sent = re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.DOTALL)
    assert sent == [blob.bytes().strip() for blob in chain]
    root.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    assert handshake(tls.Certificate(pem).context, trusting(tmp_path), "localhost") == "localhost"


@pytest.mark.parametrize(
    ("days", "what"),
    [
        (-10, 'of "a" expired on '),
        (0.5, 'of "a" expires in less than a day, on '),
        (12.5, 'of "a" expires in 12 days, on '),
        (14.5, None),
    ],
    ids=str,
)
def test_an_expired_certificate_is_warned_of(
    tmp_path: Path, authority: trustme.CA, cache: Path, days: float, what: str | None
) -> None:
    (tmp_path / "env.wat").write_text(ENV)
    issue(tmp_path, authority, "a", days=days)
    (tmp_path / "modules.toml").write_text(configuration())
    with contextlib.closing(load(read_config(tmp_path / "modules.toml", {"cache": {"directory": str(cache)}}))) as site:
        found = [warning.what for warning in site.warnings if "tls_cert" in warning.what]
        expires = site.served().tls_not_after
    assert [what is not None and what in text for text in found] == ([True] if what else [])
    assert expires is not None
    assert abs(expires - time.time() - days * 86400) < 3600


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_expired_certificate_at_a_reload_and_in_the_metrics(
    folder: Path, authority: trustme.CA, cache: Path, workers: str
) -> None:
    options = ("--admin", f"unix:{folder}/admin", "--workers", workers)
    with running(folder, configuration(), *options, cache=cache) as server:
        admin = httpx.Client(transport=httpx.HTTPTransport(uds=f"{folder}/admin"), base_url="http://localhost")
        with admin:

            def not_after() -> float:
                found = re.search(r"^wagi_tls_not_after_seconds (\S+)$", admin.get("/metrics").text, re.MULTILINE)
                assert found
                return float(found[1])

            assert not_after() > time.time()
            issue(folder, authority, "localhost", days=-1)
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_log(r'WARNING reload: .*server\.tls_cert = "certificate\.pem": .* expired on ')
            server.wait_for_log("reloaded: ")
            wait_until(lambda: not_after() < time.time())
