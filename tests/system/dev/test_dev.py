"""`wagi-gateway dev` in a process: builds, reloads, error pages, and what must never leak."""

from __future__ import annotations

import json
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import wait_until
from tests.support import guests
from tests.support.cli import gateway
from tests.support.clock import assert_soon
from tests.support.config import config, guest, module
from tests.support.development import Development, developing
from tests.support.env_guest import ENV, seen
from tests.support.processes import is_alive
from wagi_gateway.dev.history import MAX_MEMORY

HTML = {"accept": "text/html"}


def page(text: str) -> str:
    return guests.says(guests.CONTENT_TYPE + text.encode() + b"\n", stderr=b"a line\n")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module that is built by copying its source."""
    directory = tmp_path_factory.mktemp("app")
    (directory / "src.wat").write_text(page("first"))
    build = {"command": ["cp", "src.wat", "built.wat"], "watch": ["src.wat"]}
    text = config(module("/hello", "built.wat", build=build), guest("/plain", "plain"), guest("/env/...", "env"))
    (directory / "plain.wat").write_text(guests.says(b"no header\n"))
    (directory / "env.wat").write_text(ENV)
    (directory / "modules.toml").write_text(text)
    return directory


@pytest.fixture(scope="module")
def dev(app: Path, cache: Path) -> Iterator[Development]:
    with developing(app, cache=cache) as running:
        yield running


def test_it_builds_serves_and_prints_plain_lines(dev: Development) -> None:
    assert dev.get("/hello").text == "first\n"
    dev.wait_for(r"GET /hello 200 .*#\d+\n  │ a line\n")
    assert "built /hello" in dev.text
    assert "for development: " in dev.text
    assert "\x1b" not in dev.text


def test_a_change_is_built_and_served(dev: Development, app: Path) -> None:
    (app / "src.wat").write_text(page("second"))
    assert_soon(lambda: dev.get("/hello").text == "second\n", 10)


def test_a_failed_build_is_shown_and_the_old_module_stays(dev: Development, app: Path) -> None:
    text = (app / "modules.toml").read_text()
    before = dev.get("/hello").text
    (app / "modules.toml").write_text(text.replace('"cp"', '"false"'))
    wait_until(lambda: "The build has failed" in dev.get("/hello", headers=HTML).text)
    assert dev.get("/hello").text == before
    dev.wait_for("build failed with code 1")
    (app / "modules.toml").write_text(text)
    wait_until(lambda: dev.get("/hello", headers=HTML).text == before)


def test_errors_are_pages_for_browsers_and_text_for_others(dev: Development) -> None:
    missing = dev.get("/helo", headers=HTML)
    assert (missing.status_code, "did you mean" in missing.text) == (404, True)
    refused = dev.get("/plain", headers=HTML)
    assert "no header" in refused.text
    assert dev.token not in missing.text + refused.text
    assert "<" not in dev.get("/plain").text


def test_events_are_streamed(dev: Development) -> None:
    headers = {"x-inspector-token": dev.token}
    with httpx.stream("GET", f"{dev.inspector}/api/events", headers=headers, trust_env=False, timeout=30) as stream:
        lines = stream.iter_lines()
        assert json.loads(next(lines).removeprefix("data: ")) == {"type": "hello"}
        dev.get("/hello?streamed")
        seen = next(line for line in lines if '"invocation"' in line)
    assert json.loads(seen.removeprefix("data: "))["invocation"]["query"] == "streamed"


def test_a_request_is_sent_again_through_the_listener(dev: Development) -> None:
    dev.get("/hello?again")
    number = dev.api("invocations").json()["invocations"][-1]["number"]
    sent = dev.api(f"invocations/{number}/resend", "POST").json()
    assert sent["status"] == 200
    copy = dev.api(f"invocations/{sent['number']}").json()
    assert (copy["parent"], copy["query"]) == (number, "again")
    edits = {"client": "192.0.2.5", "target": "/hello?edited", "rebuild": True}
    sent = dev.api(f"invocations/{number}/resend", "POST", json=edits).json()
    copy = dev.api(f"invocations/{sent['number']}").json()
    assert {one["name"]: one["value"] for one in copy["environ"]}["REMOTE_ADDR"] == "192.0.2.5"


@pytest.mark.parametrize(
    ("method", "target", "headers", "body"),
    [
        ("GET", "/env/a%20b?x=1&y='$(id)'", {"x-own": "it's; `id`", "x-empty": "", "cookie": "session=abcdefgh"}, b""),
        ("POST", "/env", {"content-type": "text/csv"}, bytes(range(256))),
        ("PUT", "/env", {}, b"without a type"),
        ("HEAD", "/env", {}, b""),
        ("DELETE", "/env", {}, b""),
    ],
    ids="GET|POST|PUT|HEAD|DELETE".split("|"),
)
def test_a_copy_as_run_gives_the_guest_the_same_request(
    dev: Development, app: Path, cache: Path, method: str, target: str, headers: dict[str, str], body: bytes
) -> None:
    answer = dev.client.request(method, dev.site + target, headers=headers, content=body or None)
    number = dev.api("invocations").json()["invocations"][-1]["number"]
    command = dev.api(f"invocations/{number}/copy/run?secrets=1").text
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(
        ["sh", "-c", command], cwd=app, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    )
    head, _, output = done.stdout.partition(b"\r\n\r\n")
    assert (done.returncode, head.partition(b"\r")[0], done.stderr) == (0, b"HTTP/1.1 200 OK", b"")
    if method == "HEAD":
        assert output == answer.content == b""
        return
    before, after = seen(answer.content), seen(output)
    assert (after.argv, after.stdin) == (before.argv, before.stdin) == (before.argv, body)
    differing = dict(set(before.environ.items()) ^ set(after.environ.items()))
    assert differing.keys() == {b"REMOTE_PORT", b"X_REQUEST_ID"}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/invocations", {"x-inspector-token": ""}),
        ("/api/invocations", {"x-inspector-token": "wrong"}),
        ("/api/invocations", {"host": "evil.example"}),
        ("/api/invocations", {"origin": "http://evil.example"}),
        ("/", {"host": "evil.example"}),
    ],
)
def test_the_inspector_refuses(dev: Development, path: str, headers: dict[str, str]) -> None:
    response = httpx.get(dev.inspector + path, headers={"x-inspector-token": dev.token, **headers}, trust_env=False)
    assert response.status_code == 403


def test_serve_does_not_import_the_inspector(app: Path, cache: Path) -> None:
    program = """
import signal, sys
from wagi_gateway.cli.main import app
from wagi_gateway.server import serve as server
server.log.announce = lambda text, **_: text.startswith("Ready") and signal.raise_signal(signal.SIGTERM)
try:
    app(["serve", *sys.argv[1:]])
except SystemExit as end:
    print(end.code)
print([name for name in sys.modules if name.startswith("wagi_gateway.dev")])
"""
    (app / "served.toml").write_text(guest("/plain", "plain"))
    arguments = ["served.toml", "--reload", "--listen", "127.0.0.1:0", "--cache-dir", str(cache)]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=app, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-2:] == ["0", "[]"], done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--listen", "0.0.0.0:0"], {}, "loopback"),
        (["--listen", "unix:x.sock"], {}, "unix:x.sock"),
        (["--inspector", "0.0.0.0:0"], {}, "loopback"),
        ([], {"NOTIFY_SOCKET": "/run/x"}, "NOTIFY_SOCKET"),
        (["--env", "A"], {}, "--env (number 1 of 1)"),
        (["missing.toml"], {}, "missing.toml"),
    ],
)
def test_dev_refuses(app: Path, arguments: list[str], environment: dict[str, str], words: str) -> None:
    done = gateway("dev", *arguments, cwd=app, stdin=b"", **environment)
    assert (done.returncode, words in done.stderr.decode()) == (3, True), done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_also_with_an_open_page(app: Path, cache: Path, number: signal.Signals) -> None:
    with developing(app, "--env", "A=1", cache=cache) as running:
        headers = {"x-inspector-token": running.token}
        with httpx.stream("GET", f"{running.inspector}/api/events", headers=headers, trust_env=False) as stream:
            next(stream.iter_lines())
            running.process.send_signal(number)
            assert running.process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_the_first_build(tmp_path: Path, number: signal.Signals) -> None:
    build = {"command": ["sh", "-c", "echo $$ >new; mv new pid; exec sleep 600"]}
    (tmp_path / "modules.toml").write_text(config(module("/a", "a.wasm", build=build)))
    command = [sys.executable, "-m", "wagi_gateway", "dev", "--listen", "127.0.0.1:0", "--inspector", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        wait_until((tmp_path / "pid").exists, message=lambda: "the build did not start")
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, b"Traceback" in errors) == (128 + number, False), errors
    child = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_alive(child))


def test_a_configuration_that_cannot_be_loaded_yet(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "modules.toml").write_text(guest("/hello", "hello"))
    with developing(tmp_path, cache=cache) as running:
        assert "cannot be served" in running.get("/hello", headers=HTML).text
        (tmp_path / "hello.wat").write_text(guests.HELLO)
        wait_until(lambda: running.get("/hello", headers=HTML).text == "hello world\n")


@pytest.mark.timeout(120)
def test_memory_is_bounded_and_given_back(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "modules.toml").write_text(guest("/hello", "hello"))
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    noise = 32 * 2**20
    with developing(tmp_path, cache=cache) as running:

        def post(times: int) -> int:
            """Posts as many bodies, and returns the bytes of anonymous memory."""
            for _ in range(times):
                assert running.client.post(f"{running.site}/hello", content=bytes(400_000)).status_code == 200
            status = Path(f"/proc/{running.process.pid}/status").read_text()
            return int(status.partition("RssAnon:")[2].split()[0]) * 1024

        before = post(5)
        grown = post(230) - before
        assert running.api("invocations").json()["held"] <= MAX_MEMORY
        assert grown < MAX_MEMORY + noise
        running.api("invocations", "DELETE")
        assert post(1) - before < noise


def test_the_next_free_port_is_taken(tmp_path: Path, cache: Path) -> None:
    import socket

    (tmp_path / "hello.wat").write_text(guests.HELLO)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "modules.toml").write_text(config(guest("/hello", "hello"), server={"listen": f"127.0.0.1:{port}"}))
        command = [sys.executable, "-m", "wagi_gateway", "dev", "--cache-dir", str(cache)]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            line = next(line for line in process.stderr if "site " in line)
            process.terminate()
            process.stderr.read()
    assert port < int(line.rpartition(":")[2]) < port + 50


def test_the_command_line_of_a_browser_has_no_token(app: Path, cache: Path, tmp_path: Path) -> None:
    """Every user of the machine can read it."""
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\necho $1 >{tmp_path}/new && mv {tmp_path}/new {tmp_path}/url\n")
    browser.chmod(0o755)
    leader, follower = pty.openpty()
    with (
        open(leader, "wb", buffering=0) as keys,
        open(follower, "rb", buffering=0),
        developing(app, cache=cache, terminal=str(follower), BROWSER=f"{browser} %s") as running,
    ):
        keys.write(b"i")
        wait_until((tmp_path / "url").exists)
        page, _, code = (tmp_path / "url").read_text().strip().partition("/#code=")
        assert (page, running.token in code) == (running.inspector, False)
        answers = [running.api("token", headers={"x-inspector-code": code}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 403]
        assert answers[0].text == running.token


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_first_build_ends_the_build(tmp_path: Path, cache: Path, number: signal.Signals) -> None:
    build = {"command": ["sh", "-c", "sleep 600 & echo $! >new; mv new child; wait"]}
    (tmp_path / "modules.toml").write_text(config(module("/a", "a.wat", build=build)))
    command = [sys.executable, "-m", "wagi_gateway", "dev", "--listen", "127.0.0.1:0", "--inspector", "127.0.0.1:0"]
    with subprocess.Popen([*command, "--cache-dir", str(cache)], cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        wait_until((tmp_path / "child").exists)
        process.send_signal(number)
        assert process.wait(30) == 128 + number
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not is_alive(child))
