"""`kubectl exec` over a WebSocket, with real modules."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket

from tests.conftest import wait_until
from tests.support import guests
from tests.support.config import guest
from tests.support.node_api import NodeApi, Pods, WebSocketClient, exec_path, outcome
from wagi_gateway.node.server import exec as endpoint
from wagi_gateway.node.server import request_process
from wagi_gateway.node.server.channels import PROTOCOL, status
from wagi_gateway.node.server.exec import Exec

ECHO = f"""(module {guests.FD_WRITE} {guests.FD_READ} (memory (export "memory") 3)
 (data (i32.const 1024) "content-type: text/plain\\n\\n")
 (func (export "_start")
  (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 26))
  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
  (block $end (loop $more
   (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 65536))
   (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
   (br_if $end (i32.eqz (i32.load (i32.const 8))))
   (i32.store (i32.const 4) (i32.load (i32.const 8)))
   (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
   (br $more)))))"""
MODULES = {
    "hello": guests.says(guests.CONTENT_TYPE + b"hello\n", stderr=b"said\n"),
    "trap": guests.TRAP,
    "sleep": guests.SLEEP,
    "echo": ECHO,
}


@pytest.fixture(scope="module")
def pod(node_api: NodeApi, tmp_path_factory: pytest.TempPathFactory) -> NodeApi:
    """The Pod `demo`, whose containers are MODULES; the route of each is below its name, that of `hello` everything."""
    directory = tmp_path_factory.mktemp("pod")
    configuration = f'[cache]\ndirectory = "{directory}/cache"\n[limits]\ntime = "60s"\n'
    for name, text in MODULES.items():
        (directory / f"{name}.wat").write_text(text)
        route = "/..." if name == "hello" else f"/{name}/..."
        configuration += guest(route, name)
        node_api.pods.add("demo", name, directory / f"{name}.log", route=route)
    (directory / "modules.toml").write_text(configuration)
    return node_api


def execute(pod: NodeApi, container: str, *command: str, **options: str) -> dict[int, bytes]:
    return pod.websocket(exec_path("demo", container, *command, **options)).channels()


def test_a_request(pod: NodeApi) -> None:
    channels = execute(pod, "hello", "GET", "/anything")
    assert (channels[1], channels[2], outcome(channels)) == (b"hello\n", b"said\n", "Success")


def test_the_module_of_the_container_answers(pod: NodeApi) -> None:
    assert execute(pod, "hello", "GET", "/echo/x")[1] == b"hello\n"
    channels = execute(pod, "trap", "GET", "/hello")
    assert outcome(channels) == "4"
    assert b"no route answers /hello" in channels[2]


def test_a_request_that_fails(pod: NodeApi) -> None:
    channels = execute(pod, "trap", "GET", "/trap/x")
    assert outcome(channels) == "5"
    assert b"unreachable" in channels[2]


def test_standard_input_is_the_body(pod: NodeApi) -> None:
    client = pod.websocket(exec_path("demo", "echo", "POST", "/echo/x", "Content-Type: text/plain", input="1"))
    for data in (b"\x00one ", b"\x04{}", b"\x00two", b"\xff\x00", b"\x00three"):
        client.send(data)
    channels = client.channels()
    assert (channels[1], outcome(channels)) == (b"one two", "Success")


@pytest.mark.parametrize("path", ["/\0", "/" + "x" * 200_000], ids=["nul", "too-long"])
def test_a_path_that_no_command_line_has(pod: NodeApi, path: str, caplog: pytest.LogCaptureFixture) -> None:
    client = pod.websocket(exec_path("demo", "hello", "GET", path))
    if client.status is None:
        assert outcome(client.channels()) == "2"
    assert "Traceback" not in caplog.text


def test_a_machine_without_room_for_a_process(
    pod: NodeApi, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    channels = execute(pod, "hello", "GET", "/")
    assert outcome(channels) == "2"
    assert b"cannot start a process for the request: No such file" in channels[2]
    assert "Traceback" not in caplog.text


def test_a_frame_of_text(pod: NodeApi, caplog: pytest.LogCaptureFixture) -> None:
    client = pod.websocket(exec_path("demo", "echo", "POST", "/echo/x", input="1"))
    client.send_text("text")
    channels = client.channels()
    assert outcome(channels) == "2"
    assert b"frames must be binary" in channels[2]
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("frame", [b"\xff\xff\xff\xff", b"\x82\x85junk", b"\x88\x02\x03\xe8", b"\x80\x05hello"])
def test_what_is_no_frame(pod: NodeApi, frame: bytes, caplog: pytest.LogCaptureFixture) -> None:
    client = pod.websocket(exec_path("demo", "echo", "POST", "/echo/x", input="1"))
    client.socket.sendall(frame)
    client.close()
    wait_until(lambda: execute(pod, "hello", "GET", "/")[1] == b"hello\n")
    assert "Traceback" not in caplog.text


def test_a_body_that_is_not_read(pod: NodeApi) -> None:
    client = pod.websocket(exec_path("demo", "hello", "PUT", "/x", input="1"))
    client.send(b"\x00" + b"x" * 100_000)
    client.send(b"\xff\x00")
    assert outcome(client.channels()) == "Success"


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        (("sh",), {}, b'error: "sh" is no method of HTTP, and there is no program to execute; a container is'),
        (("GET", "/"), {"tty": "1"}, b"error: there is no terminal: leave -t out"),
    ],
)
def test_what_is_no_request(pod: NodeApi, command: tuple[str, ...], options: dict[str, str], words: bytes) -> None:
    channels = execute(pod, "hello", *command, **options)
    assert outcome(channels) == "2"
    assert words in channels[2]


@pytest.mark.parametrize(
    ("path", "subprotocols", "status", "words"),
    [
        (exec_path("none", "hello", "GET", "/"), ("v5.channel.k8s.io",), 404, b'pod "none" does not exist'),
        (
            exec_path("demo", "none", "GET", "/"),
            ("v5.channel.k8s.io",),
            404,
            b'container "none" not found in pod "demo"',
        ),
        (exec_path("demo", "hello", "GET", "/"), ("v4.channel.k8s.io",), 400, b"v5.channel.k8s.io is needed"),
    ],
)
def test_refusals(pod: NodeApi, path: str, subprotocols: tuple[str, ...], status: int, words: bytes) -> None:
    refused = pod.websocket(path, subprotocols=subprotocols)
    assert (refused.status, words in refused.body) == (status, True), refused.body


@pytest.mark.parametrize("state", [{"waiting": "CrashLoopBackOff"}, {"is_running": False}])
def test_a_container_that_does_not_run(pod: NodeApi, state: dict[str, object]) -> None:
    before = pod.pods.all["default", "demo"]["trap"]
    pod.pods.change("demo", "trap", **state)
    refused = pod.websocket(exec_path("demo", "trap", "GET", "/"))
    assert (refused.status, refused.body) == (400, b'container "trap" in pod "demo" is not running')
    pod.pods.all["default", "demo"]["trap"] = before


def children(pod: NodeApi) -> list[str]:
    """The command lines of requests under way."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().decode())
        except OSError:
            continue
    configuration = str(pod.pods.all["default", "demo"]["sleep"].configuration)
    return [line for line in lines if "--path=/sleep" in line and configuration in line]


def sleeping(pod: NodeApi, **options: str) -> WebSocketClient:
    """A request under way that does not end."""
    client = pod.websocket(exec_path("demo", "sleep", "GET", "/sleep/x", **options))
    wait_until(lambda: bool(children(pod)))
    return client


@pytest.mark.parametrize("is_input", ["0", "1"])
def test_a_client_that_leaves_ends_the_request(pod: NodeApi, is_input: str) -> None:
    sleeping(pod, input=is_input).close()
    wait_until(lambda: not children(pod))


def test_requests_are_bounded_in_number(pod: NodeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MAX_COMMANDS", 1)
    under_way = sleeping(pod)
    refused = pod.websocket(exec_path("demo", "hello", "GET", "/"))
    assert (refused.status, b"try again later" in refused.body) == (503, True)
    under_way.close()
    wait_until(lambda: not children(pod))


def test_requests_of_one_pod_are_bounded_in_number(pod: NodeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MAX_POD_COMMANDS", 1)
    under_way = sleeping(pod)
    refused = pod.websocket(exec_path("demo", "hello", "GET", "/"))
    assert (refused.status, b'answers 1 commands of pod "demo" already; try again later' in refused.body) == (503, True)
    assert pod.websocket(exec_path("none", "hello", "GET", "/")).status == 404
    under_way.close()
    wait_until(lambda: not children(pod))


def test_a_request_counts_before_it_is_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A client that does not read its answer keeps the node from sending it."""
    pods, refused = Pods(), list[int]()
    pods.add("demo", "hello", tmp_path / "0.log")
    answers = Exec(pods)
    monkeypatch.setattr(endpoint, "MAX_COMMANDS", 2)

    async def story() -> None:
        reads = asyncio.Event()

        async def send(message: Message) -> None:
            if message["type"] == "websocket.accept":
                await reads.wait()
            if message["type"] == "websocket.http.response.start":
                refused.append(message["status"])

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        scope = {
            "type": "websocket",
            "path_params": {"namespace": "default", "pod": "demo", "container": "hello"},
            "subprotocols": [PROTOCOL],
            "query_string": b"tty=1",
            "extensions": {"websocket.http.response": {}},
        }
        requests = [asyncio.create_task(answers(WebSocket(scope, receive, send))) for _ in range(5)]
        await asyncio.sleep(0)
        while len(refused) < 3:  # noqa: ASYNC110 - of other tasks
            await asyncio.sleep(0)
        reads.set()
        await asyncio.gather(*requests)

    asyncio.run(story())
    assert refused == [503] * 3


def test_a_request_has_the_limits_of_its_pod(pod: NodeApi) -> None:
    bounded: list[int] = []
    pod.pods.change("demo", "hello", bound=bounded.append)
    execute(pod, "hello", "GET", "/anything")
    assert len(bounded) == 1


@pytest.mark.parametrize("change", [{"is_running": False}, {"pid": 2}, None], ids=["ended", "another run", "deleted"])
def test_a_request_ends_with_its_container(
    pod: NodeApi, monkeypatch: pytest.MonkeyPatch, change: dict[str, object] | None
) -> None:
    monkeypatch.setattr(endpoint, "_POLL", 0.05)
    before = pod.pods.all["default", "demo"]["sleep"]
    client = sleeping(pod)
    if change:
        pod.pods.change("demo", "sleep", **change)
    else:
        del pod.pods.all["default", "demo"]["sleep"]
    channels = client.channels()
    pod.pods.all["default", "demo"]["sleep"] = before
    assert (channels[2], outcome(channels)) == (b'error: container "sleep" in pod "demo" has ended\n', "2")
    assert not children(pod)


def test_requests_are_bounded_in_time(pod: NodeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MAX_TIME", 1.0)
    channels = execute(pod, "sleep", "GET", "/sleep/x")
    assert (channels[2].splitlines()[-1], outcome(channels)) == (b"error: the request took more than 1 s", "2")
    assert not children(pod)


def test_bodies_are_bounded(pod: NodeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_process, "MAX_BODY", 10)
    client = pod.websocket(exec_path("demo", "echo", "POST", "/echo/x", input="1"))
    client.send(b"\x00" + b"x" * 11)
    channels = client.channels()
    assert (b"standard input has more than 10 bytes" in channels[2], outcome(channels)) == (True, "2")


def test_a_signal_is_an_exit_code() -> None:
    assert status(-signal.SIGKILL)["details"]["causes"] == [{"reason": "ExitCode", "message": "137"}]
