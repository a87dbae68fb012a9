"""The samples of the root modules.toml respond as their READMEs describe."""

from __future__ import annotations

import random
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.conftest import INSTALLATION, ROOT, Serve, Server, running
from tests.support.config import module
from tests.support.farm import Target, certified
from tests.support.forward_proxy import Forward

TEXT = "text/plain; charset=utf-8"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """The samples, with an unreachable proxy for calls that would leave this machine."""
    directory = tmp_path_factory.mktemp("samples")
    text = (ROOT / "modules.toml").read_text().replace('"samples/', f'"{ROOT}/samples/')
    with socket.create_server(("127.0.0.1", 0)) as closed:
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
    (directory / "modules.toml").write_text(f'{text}\n[outbound]\nproxy = "{proxy}"\n')
    with running(directory, directory / "modules.toml", cache=cache) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "status", "content_type", "body"),
    [
        pytest.param("/hello", 200, "text/plain", "hello world\n", id="hello"),
        pytest.param("/hello/a/b?c", 200, "text/plain", "hello world\n", id="hello-below"),
        pytest.param("/error", 404, "text/plain", "This 404 was chosen by the guest.\n", id="error"),
        pytest.param("/log", 200, TEXT, "Three lines were written to this module's log.\n", id="log"),
        pytest.param("/greet", 200, TEXT, "Try bonjour or hola/NAME below this address.\n", id="greet"),
        pytest.param("/greet/other", 200, TEXT, "Try bonjour or hola/NAME below this address.\n", id="greet-other"),
        pytest.param("/greet/bonjour", 200, TEXT, "Bonjour, le monde !\n", id="bonjour"),
        pytest.param(
            "/greet/bonjour/x", 200, TEXT, "Try bonjour or hola/NAME below this address.\n", id="bonjour-exact"
        ),
        pytest.param("/greet/hola", 200, TEXT, "¡Hola, mundo!\n", id="hola"),
        pytest.param("/greet/hola/Jos%C3%A9", 200, TEXT, "¡Hola, José!\n", id="hola-name"),
        pytest.param("/nowhere", 404, TEXT, "Not Found\nRequest id: ID\n", id="no-route"),
        pytest.param("/errors", 404, TEXT, "Not Found\nRequest id: ID\n", id="no-prefix-of-a-segment"),
        pytest.param("/healthz", 200, TEXT, "OK", id="healthz"),
    ],
)
def test_a_sample_answers(samples: Server, path: str, status: int, content_type: str, body: str) -> None:
    response = samples.get(path)
    body = body.replace("ID", response.headers.get("x-request-id", ""))
    assert (response.status_code, response.headers.get("content-type"), response.text) == (status, content_type, body)


def test_the_index_links_every_route_that_is_served(samples: Server) -> None:
    index = samples.get("/")
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    links = re.findall(r'href="([^"]+)"', index.text)
    assert {link for link in links if samples.get(link).status_code >= 500} == {"/http-example", "/fetch"}
    assert {link.split("/")[1].partition("?")[0] for link in links} == {
        "hello", "error", "env", "echo", "http-example", "fetch", "log", "greet",
    }  # fmt: skip


def test_log_lines_carry_route_and_request_id(samples: Server) -> None:
    request_id = samples.get("/log").headers["x-request-id"]
    pattern = rf"(?m)^\S+ INFO +guest: (log: .+?) route=/log id={request_id}$"
    samples.wait_for_log(rf"the request is done route=/log id={request_id}")
    assert re.findall(pattern, samples.log) == [
        "log: the request has arrived",
        "log: what a guest writes to standard error never reaches the client",
        "log: the request is done",
    ]


HTTP_EXAMPLE = ROOT / "samples/c/http-example.wasm"


def test_an_outbound_request_is_denied_in_words(serve: Serve) -> None:
    response = serve(module("/http-example", HTTP_EXAMPLE)).get("/http-example")
    assert (response.status_code, response.headers["content-type"]) == (502, "text/plain")
    assert re.fullmatch(r"outbound request denied: .+ \(wasi_experimental_http error 7\)\n", response.text)


def test_an_outbound_request_that_fails_says_so(samples: Server) -> None:
    response = samples.get("/http-example")
    assert (response.status_code, response.headers["content-type"]) == (502, "text/plain")
    assert re.fullmatch(r"outbound request failed: .+ \(wasi_experimental_http error 11\)\n", response.text)


def test_the_articles_outbound_request_works(tmp_path: Path, cache: Path) -> None:
    """The service no longer exists, so a proxy connects to a stand-in with a valid certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with (
        Target(tls=certified(authority.issue_cert("api.brigade.sh"))) as service,
        Forward(authorization=None, ports={443: service.port}) as proxy,
    ):
        text = (ROOT / "modules.toml").read_text().replace('"samples/', f'"{ROOT}/samples/')
        text += f'\n[outbound]\nproxy = "http://127.0.0.1:{proxy.port}"\nca_file = "ca.pem"\n'
        with running(tmp_path, text, cache=cache) as server:
            response = server.get("/http-example")
    assert (response.status_code, response.text) == (200, "https://api.brigade.sh/healthz answered 200\n\nOK")
    assert service.requests[0].header("host") == "api.brigade.sh"


def test_fetch_shows_another_service(serve: Serve) -> None:
    with Target() as target:
        fetch, environment = ROOT / "samples/assemblyscript/fetch.wasm", {"URL": f"{target.url}/hello"}
        server = serve(module("/fetch", fetch, allowed_hosts=[target.url], environment=environment))
        text = server.get("/fetch").text
    assert text.startswith(f"{target.url}/hello answered 200 (text/plain")
    assert text.endswith("hello from the target\n\n")


def test_env_shows_the_whole_request(samples: Server) -> None:
    headers = {"content-type": "text/x-test", "x-shown": "yes", "user-agent": "test", "accept-encoding": "gzip"}
    response = samples.post("/env/a%20b?x=1&y=2&y", b"body", headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (200, TEXT)
    *shown, stdin = response.text.splitlines()
    argv, variables = shown[:4], dict(line.split("=", 1) for line in shown[4:])
    host, port = samples.address
    assert argv == ["/env/a%20b", "x=1", "y=2", "y"]
    assert stdin == "stdin: 4 bytes"
    assert [line.split("=")[0] for line in shown[4:]] == sorted(variables)
    assert variables.pop("REMOTE_PORT").isdecimal()
    assert variables.pop("SERVER_SOFTWARE").startswith("wagi-gateway/")
    assert variables == {
        "AUTH_TYPE": "",
        "CONTENT_LENGTH": "4",
        "CONTENT_TYPE": "text/x-test",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "GREETING": "good day",
        "HTTP_ACCEPT": "*/*",
        "HTTP_ACCEPT_ENCODING": "gzip",
        "HTTP_CONTENT_TYPE": "text/x-test",
        "HTTP_HOST": f"{host}:{port}",
        "HTTP_USER_AGENT": "test",
        "HTTP_X_SHOWN": "yes",
        "PATH_INFO": "/a b",
        "PATH_TRANSLATED": "/a b",
        "QUERY_STRING": "x=1&y=2&y",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_HOST": "127.0.0.1",
        "REMOTE_USER": "",
        "REQUEST_METHOD": "POST",
        "REQUEST_SCHEME": "http",
        "REQUEST_URI": "/env/a%20b?x=1&y=2&y",
        "SCRIPT_NAME": "/env",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "X_FULL_URL": f"http://{host}:{port}/env/a%20b?x=1&y=2&y",
        "X_MATCHED_ROUTE": "/env/...",
        "X_RAW_PATH_INFO": "/a%20b",
        "X_REQUEST_ID": response.headers["x-request-id"],
    }


@pytest.mark.parametrize("size", [0, 1, 2**20], ids=["nothing", "one-byte", "1MiB"])
def test_echo_sends_the_body_back(samples: Server, size: int) -> None:
    body = random.Random(size).randbytes(size)
    response = samples.post("/echo", body, headers={"content-type": "image/x-test"})
    assert (response.status_code, response.headers["content-type"]) == (200, "image/x-test")
    assert response.content == body


@pytest.mark.parametrize(
    ("headers", "content_type"),
    [({}, "application/octet-stream"), ({"content-type": "t/é"}, "application/octet-stream")],
    ids=["none", "not-printable"],
)
def test_echo_chooses_a_content_type_where_the_request_has_none(
    samples: Server, headers: dict[str, str], content_type: str
) -> None:
    response = samples.post("/echo", b"body", headers={name: value.encode() for name, value in headers.items()})
    assert (response.headers["content-type"], response.content) == (content_type, b"body")


def test_every_route_of_the_readme_is_served() -> None:
    table = re.findall(r"^\| \[.+?\]\((.+?)\) \| .+? \| `(/.*?)` \|", (ROOT / "samples/README.md").read_text(), re.M)
    served = re.findall(r'^route = "(.+)"\nmodule = "samples/(.+)"', (ROOT / "modules.toml").read_text(), re.M)
    stems = {route: Path(source).with_suffix("") for source, route in table if route != "/go/..."}
    assert stems == {route: Path(module).with_suffix("") for route, module in served}


@pytest.mark.parametrize("path", ["/", "/below"])
def test_the_readmes_shortest_program_runs(serve: Serve, path: str) -> None:
    (program,) = re.findall(r"^```wat\n(.+?)^```", (ROOT / "samples/wat/README.md").read_text(), re.M | re.S)
    server = serve(module("/...", "shortest.wat"), shortest=program)
    assert server.get(path).text == "hello world\n"


@pytest.mark.timeout(INSTALLATION)
def test_the_samples_come_from_their_sources() -> None:
    command = [str(ROOT / "scripts/build-samples"), "--check"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stdout + finished.stderr
