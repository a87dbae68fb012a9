"""`kubectl logs` as the API server asks for it, over TLS."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from tests.conftest import wait_until
from tests.support.descriptors import no_descriptors
from tests.support.node_api import NodeApi, Pods
from tests.support.pods import until
from wagi_gateway.node.server import container_logs
from wagi_gateway.node.server.container_logs import ContainerLogs, log_text
from wagi_gateway.node.server.log_file import LogReader
from wagi_gateway.node.server.log_options import LogOptions
from wagi_gateway.observe.log_file import Rotation, append

ROTATION = Rotation(2000, 3)


def write(path: Path, *texts: str, tag: str = "F", second: int = 0) -> None:
    for text in texts:
        append(path, f"2020-11-30T12:00:{second:02d}.000000000Z stderr {tag} {text}\n".encode(), ROTATION)


@pytest.fixture
def log(node_api: NodeApi, tmp_path: Path) -> Path:
    """The log of the container `hello` of the Pod `demo`."""
    node_api.pods.all.clear()
    node_api.pods.add("demo", "hello", tmp_path / "hello" / "1.log")
    return tmp_path / "hello" / "1.log"


def shown(node_api: NodeApi, query: str = "", path: str = "default/demo/hello") -> str:
    answer = node_api.get(f"/containerLogs/{path}?{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.text


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "one\ntwo and a half\nthree\n"),
        ("tailLines=1", "three\n"),
        ("tailLines=0", ""),
        ("tailLines=2&limitBytes=5", "two a"),
        ("limitBytes=4", "one\n"),
        ("limitBytes=1000000", "one\ntwo and a half\nthree\n"),
        ("sinceTime=2020-11-30T12:00:01Z", "two and a half\nthree\n"),
        ("sinceTime=2020-11-30T13:00:02%2B01:00", "three\n"),
        ("sinceSeconds=1", ""),
        ("tailLines=1&timestamps=true", "2020-11-30T12:00:02.000000000Z three\n"),
        ("tailLines=2&timestamps=true&limitBytes=47", "2020-11-30T12:00:01.000000000Z two and a half\n2"),
    ],
)
def test_options(node_api: NodeApi, log: Path, query: str, text: str) -> None:
    write(log, "one")
    write(log, "two ", tag="P", second=1)
    write(log, "and a half", second=1)
    write(log, "three", second=2)
    assert shown(node_api, query) == text


def test_a_container_that_has_written_nothing(node_api: NodeApi, log: Path) -> None:
    assert shown(node_api) == shown(node_api, "tailLines=3") == ""
    assert not log.exists()


def test_rotated_files_are_shown_too(node_api: NodeApi, log: Path) -> None:
    numbers = [str(number) for number in range(100)]
    write(log, *numbers)
    assert shown(node_api).split() == numbers[-len(shown(node_api).split()) :]
    assert shown(node_api, "tailLines=60").split() == numbers[-60:]


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    ("path", "query", "status", "words"),
    [
        ("default/demo/hello", "tailLines=x", 400, 'tailLines: "x": write a whole number'),
        ("default/demo/hello", "follow=perhaps", 400, 'follow: "perhaps"'),
        ("default/demo/none", "", 404, 'container "none" not found in pod "demo"'),
        ("default/none/hello", "", 404, 'pod "none" does not exist'),
        ("other/demo/hello", "", 404, 'pod "demo" does not exist'),
        ("default/demo/hello", "previous=true", 400, 'previous terminated container "hello" in pod "demo" not found'),
    ],
)
def test_refusals(node_api: NodeApi, path: str, query: str, status: int, words: str) -> None:
    answer = node_api.get(f"/containerLogs/{path}?{query}")
    assert (answer.status_code, words in answer.text) == (status, True), answer.text


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("ContainerCreating", "ContainerCreating"),
        ("ErrImagePull", "image can't be pulled"),
        ("ImagePullBackOff", "trying and failing to pull image"),
    ],
)
def test_a_waiting_container(node_api: NodeApi, reason: str, words: str) -> None:
    node_api.pods.change("demo", "hello", waiting=reason)
    answer = node_api.get("/containerLogs/default/demo/hello")
    assert (answer.status_code, answer.text) == (400, f'container "hello" in pod "demo" is waiting to start: {words}')


@pytest.mark.parametrize("query", ["", "previous=true", "follow=true"])
def test_a_container_that_waits_after_a_run_shows_that(node_api: NodeApi, log: Path, query: str) -> None:
    write(log.with_name("0.log"), "the end")
    node_api.pods.change("demo", "hello", waiting="CrashLoopBackOff", previous_log=log.with_name("0.log"))
    assert shown(node_api, query) == "the end\n"


class Follower:
    """`kubectl logs -f` on a thread."""

    def __init__(self, node_api: NodeApi, query: str = "") -> None:
        self.text = ""
        self.is_over = threading.Event()
        self._node_api = node_api
        self._query = f"follow=true&{query}"
        self._leaving = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        path = f"/containerLogs/default/demo/hello?{self._query}"
        with self._node_api.client() as client, client.stream("GET", path) as answer:
            for data in answer.iter_raw():
                self.text += data.decode()
                if self._leaving.is_set():
                    return
        self.is_over.set()

    def leave(self) -> None:
        """Disconnects at the next line."""
        self._leaving.set()


@pytest.fixture
def follower(node_api: NodeApi, log: Path) -> Iterator[Follower]:
    write(log, "old", "first")
    following = Follower(node_api, "tailLines=1")
    wait_until(lambda: following.text == "first\n")
    yield following
    node_api.pods.all.clear()
    following.thread.join()


def test_follow_survives_rotations(follower: Follower, log: Path) -> None:
    numbers = [str(number) for number in range(70)]
    for number in numbers:
        write(log, number)
    wait_until(lambda: follower.text.split() == ["first", *numbers], message=lambda: follower.text)
    assert log.with_name("1.log.1").exists()


@pytest.mark.parametrize("end", ["restarted", "ended", "deleted", "back-off"])
def test_follow_shows_the_last_line_of_the_run(node_api: NodeApi, follower: Follower, log: Path, end: str) -> None:
    write(log, "the end")
    if end == "restarted":
        node_api.pods.change("demo", "hello", log=log.with_name("2.log"), previous_log=log)
    elif end == "ended":
        node_api.pods.change("demo", "hello", is_running=False)
    elif end == "back-off":
        node_api.pods.change("demo", "hello", waiting="CrashLoopBackOff", previous_log=log)
    else:
        node_api.pods.all.clear()
    assert follower.is_over.wait(30)
    assert follower.text == "first\nthe end\n"


def test_follow_ends_at_the_limit(node_api: NodeApi, log: Path) -> None:
    write(log, "first")
    follower = Follower(node_api, "limitBytes=8")
    wait_until(lambda: follower.text == "first\n")
    write(log, "second")
    assert follower.is_over.wait(30)
    assert follower.text == "first\nse"


def request(name: str = "hello", query: str = "") -> Request:
    where = {"namespace": "default", "pod": "demo", "container": name}
    return Request({"type": "http", "path_params": where, "query_string": query.encode(), "headers": []})


async def sent(response: Response) -> bytes:
    """The body of a response to a client that reads all of it."""
    body = bytearray()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        body.extend(message.get("body", b""))

    await response({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
    return bytes(body)


def test_a_log_counts_before_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_logs, "MAX_STREAMS", 2)
    pods = Pods()
    pods.add("demo", "hello", tmp_path / "1.log")
    write(tmp_path / "1.log", "first")

    async def story() -> None:
        logs = ContainerLogs(pods)
        answers = [await logs(request()) for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 503]
        assert [await sent(one) for one in answers[:2]] == [b"first\n"] * 2
        assert [(await logs(request("ghost"))).status_code for _ in range(3)] == [404] * 3
        assert await sent(await logs(request())) == b"first\n"

    asyncio.run(story())


def test_the_last_lines_are_looked_for_beside_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a large log may be far from them; a client that leaves meanwhile leaves no open file."""
    began, goes_on, readers = threading.Event(), threading.Event(), list[LogReader]()

    class Slow(LogReader):
        def __init__(self, path: Path, tail: int | None = None) -> None:
            began.set()
            goes_on.wait(60)
            super().__init__(path, tail)
            readers.append(self)

    monkeypatch.setattr(container_logs, "LogReader", Slow)
    pods = Pods()
    pods.add("demo", "hello", tmp_path / "1.log")
    write(tmp_path / "1.log", "first", "second")

    async def story() -> None:
        logs = ContainerLogs(pods)
        answer = asyncio.create_task(logs(request(query="tailLines=1")))
        await asyncio.to_thread(began.wait, 60)
        answer.cancel()
        await asyncio.wait([answer])
        assert answer.cancelled()
        goes_on.set()
        assert await sent(await logs(request(query="tailLines=1"))) == b"second\n"
        await until(lambda: bool(readers) and all(is_closed(one) for one in readers))

    asyncio.run(story())


def is_closed(reader: LogReader) -> bool:
    try:
        return not list(reader.blocks())
    except ValueError:  # of a closed file
        return True


def test_a_node_without_a_file_to_open_says_so(node_api: NodeApi, log: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(log, "first")
    with node_api.client() as client:
        assert client.get("/containerLogs/default/demo/hello").text == "first\n"
        with no_descriptors():
            answers = [client.get(path) for path in ("/containerLogs/default/demo/hello", "/metrics/resource")]
        assert client.get("/containerLogs/default/demo/hello").text == "first\n"
    for answer in answers:
        text = "the node cannot answer now: Too many open files; try again later\n"
        assert (answer.status_code, answer.text) == (503, text)
    assert "Traceback" not in caplog.text


def test_a_log_that_cannot_be_read_further_says_so(tmp_path: Path) -> None:
    """Its file was rotated, and the next one cannot be opened."""
    path = tmp_path / "1.log"
    write(path, "first")

    async def story() -> list[bytes]:
        options = LogOptions.of(QueryParams(""), datetime.now(UTC))
        with closing(LogReader(path)) as reader:
            path.rename(path.with_name("1.log.1"))
            write(path, "second")
            with no_descriptors():
                return [data async for data in log_text(reader, options, lambda: False)]

    assert asyncio.run(story()) == [b"first\n", b"the node cannot read the log further: Too many open files\n"]


def test_a_client_that_leaves_ends_its_log(node_api: NodeApi, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_logs, "MAX_STREAMS", 1)
    write(log, "first")
    follower = Follower(node_api)
    wait_until(lambda: follower.text == "first\n")
    refused = node_api.get("/containerLogs/default/demo/hello")
    assert (refused.status_code, "as many as it may" in refused.text) == (503, True)
    follower.leave()
    write(log, "second")
    follower.thread.join()
    wait_until(lambda: node_api.get("/containerLogs/default/demo/hello").status_code == 200)
