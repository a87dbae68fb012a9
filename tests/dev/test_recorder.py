"""The recording gateway: each exchange leaves a recording, and is answered as without one."""

from __future__ import annotations

import asyncio
import gc
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.asgi import Answer
from tests.support.config import guest, module
from tests.support.development import recorded
from tests.support.error_body import error_body
from wagi_gateway.dev.recorder import RecordedExchange, Resent
from wagi_gateway.dev.recording import Recording

HELLO = guests.says(guests.CONTENT_TYPE + b"hello\n", stderr=b"a line\n")
MODULES = {
    "hello": HELLO,
    "traps": guests.says(b"half", then="unreachable"),
    "jumps": guests.says(b"location: /hello\n\n"),
    "plain": guests.says(b"Hello, world\n"),
    "fails": guests.exits(3, guests.CONTENT_TYPE + b"x"),
}
CONFIG = "".join(guest(f"/{name}", name) for name in MODULES) + guest("/small", "hello", body=3)
HTML = ((b"accept", b"text/html"),)
EXPECT = ((b"expect", b"100-continue"),)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the recording has no event
        await asyncio.sleep(0.001)


@dataclass(frozen=True)
class Error:
    """A request that the gateway itself answers, and what is shown of the reason."""

    target: str
    public: str
    reason: str
    body: bytes = b""


ERRORS = {
    500: Error("/traps", "Internal Server Error: the module failed", "trap: "),
    502: Error("/plain", "Bad Gateway: the module&#x27;s output is not a valid CGI response", "| Hello, world\n| ^"),
    404: Error("/hallo", "Not Found", "/hello</a> — did you mean this one?"),
    413: Error(
        "/small",
        "Content Too Large: the request body may have at most 3 bytes",
        "has 4 bytes, more than limits.body (3)",
        b"sent",
    ),
}


def answer(directory: Path, target: str, *, method: str = "GET", body: bytes = b"") -> tuple[int, bytes, Recording]:
    async def main() -> tuple[int, bytes, Recording]:
        async with recorded(directory, CONFIG, **MODULES) as one:
            found = await one.client.ask(target, method=method, body=body)
            await until(lambda: one.last.is_over)
            return found.status, found.body, one.last

    return asyncio.run(main())


def test_a_request_with_a_body(tmp_path: Path) -> None:
    status, body, one = answer(tmp_path, "/hello?a=1&b", method="POST", body=b"sent")
    assert (status, body) == (200, b"hello\n")
    assert (one.body.content, one.stdout.content, one.stderr.content) == (
        b"sent",
        guests.CONTENT_TYPE + b"hello\n",
        b"a line\n",
    )
    assert (one.environ[b"QUERY_STRING"], one.environ[b"CONTENT_LENGTH"]) == (b"a=1&b", b"4")
    assert one.argv == [b"/hello", b"a=1", b"b"]
    assert (one.status, one.sent, one.route, one.source) == (200, 6, "/hello", "hello.wat")
    assert one.outcome is not None
    assert one.outcome.kind == "exit"
    assert one.outcome.memory == 2 * 65536
    assert {"body", "admitted", "first output", "first byte", "sent", "over"} <= one.marks.keys()
    assert one.marks["admitted"] < one.marks["instantiated"] < one.marks["over"]
    assert (one.error, one.failure, one.is_over) == ("", "", True)


def test_an_exchange_is_freed_without_the_garbage_collector(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorded(tmp_path, CONFIG, **MODULES) as one:
            gc.collect()
            gc.disable()
            try:
                for target in ("/hello", "/plain", "/traps", "/jumps", "/nothing"):
                    await one.client.ask(target, method="POST", body=bytes(100_000))
                    await until(lambda: one.last.is_over)
                await asyncio.sleep(0)
                assert [kept for kept in gc.get_objects() if isinstance(kept, RecordedExchange)] == []
            finally:
                gc.enable()

    asyncio.run(main())


def test_a_module_that_was_compiled_and_one_from_the_cache(tmp_path: Path) -> None:
    config = "[cache]\ndirectory = 'cache'\n" + guest("/hello", "hello")

    async def main() -> bool:
        async with recorded(tmp_path, config, hello=HELLO) as one:
            await one.client.ask("/hello")
            return one.last.compile_seconds is not None

    assert [asyncio.run(main()) for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("target", "status", "error", "failure"),
    [
        ("/plain", 502, "502: ", ""),
        ("/traps", 500, "500: ", "trap: "),
        ("/fails", 200, "", "the guest exited with code 3"),
        ("/nothing", 404, "404: no route", ""),
    ],
)
def test_a_failure(tmp_path: Path, target: str, status: int, error: str, failure: str) -> None:
    found, _, one = answer(tmp_path, target)
    assert found == one.status == status
    assert one.error.startswith(error)
    assert bool(one.error) == bool(error)
    assert one.failure.startswith(failure)


def test_a_local_redirect(tmp_path: Path) -> None:
    status, _, one = answer(tmp_path, "/jumps")
    assert (status, one.route, one.redirects) == (200, "/hello", ["/hello"])


@pytest.mark.parametrize("status", ERRORS)
def test_an_error_is_a_page_for_a_browser_and_text_for_others(tmp_path: Path, status: int) -> None:
    error = ERRORS[status]

    async def main() -> tuple[list[Answer], list[Recording], list[tuple[int, bool]]]:
        async with recorded(tmp_path, CONFIG, **MODULES) as one:
            method = "POST" if error.body else "GET"
            given: list[Sequence[tuple[bytes, bytes]]] = [(), HTML, (*HTML, *EXPECT)]
            answers = [
                await one.client.ask(error.target, method=method, body=error.body, headers=fields) for fields in given
            ]
            await until(lambda: one.last.is_over)
            return answers, list(one.gateway.history), one.changes

    (text, page, expecting), recordings, changes = asyncio.run(main())
    assert {one.status for one in (text, page, expecting)} == {status}
    assert all(one.is_whole for one in (text, page, expecting))
    assert all(one.error.startswith(f"{status}: ") and one.sent for one in recordings)
    assert text.body.decode() == error_body(html.unescape(error.public), text.headers[b"x-request-id"].decode())
    assert error.reason.encode() not in text.body
    shown = page.body.decode()
    assert f"<h1>{status} {error.public.partition(':')[0]}</h1>" in shown
    assert error.reason in shown
    assert page.headers[b"x-request-id"].decode() in shown
    assert (b"connection" in expecting.headers) == bool(error.body)
    assert changes[0] == (1, False)
    assert changes[-1] == (3, True)


def test_a_resent_request_is_linked_to_its_parent(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorded(tmp_path, CONFIG, **MODULES) as one:
            one.gateway.resent["127.0.0.1", 9] = Resent(7, "192.0.2.9")
            await one.client.ask("/hello")
            assert one.last.parent == 7
            assert one.last.environ[b"REMOTE_ADDR"] == b"192.0.2.9"
            await one.client.ask("/hello")
            assert one.last.parent is None

    asyncio.run(main())


def test_a_denied_call_is_recorded(tmp_path: Path) -> None:
    from tests.support.clients import guest_that_calls

    config = module("/calls", "calls.wat", allowed_hosts=["http://127.0.0.1:1"])

    async def main() -> Recording:
        async with recorded(tmp_path, config, calls=guest_that_calls(b"http://192.0.2.1/")) as one:
            await one.client.ask("/calls")
            await until(lambda: one.last.is_over)
            return one.last

    [call] = asyncio.run(main()).calls
    assert (call.outcome, call.origin) == ("denied", "http://192.0.2.1")
