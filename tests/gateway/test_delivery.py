"""A guest's output as the ASGI messages of its response: whole, streamed, or complete after the guest's end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.types import Message

from tests.support import guests
from wagi_gateway.cgi.request import RequestHead
from wagi_gateway.config.file import config_from_tables
from wagi_gateway.errors import BadOutput, GuestFailed, GuestTimeout, RequestError
from wagi_gateway.gateway.delivery import Delivery
from wagi_gateway.http.reply import Reply
from wagi_gateway.http.spool import SpoolBudget
from wagi_gateway.sandbox.invocation import Invocation
from wagi_gateway.sandbox.sandbox import Sandbox
from wagi_gateway.site.load import load

SLOW = guests.sleeps(500_000_000, guests.CONTENT_TYPE + b"begun ", b"ended")
"""Writes, sleeps for 0.5 s and writes again."""


@dataclass
class Delivered:
    """The messages of a response, the target of a local redirect, and the warnings."""

    messages: list[Message]
    redirect: bytes | None
    warnings: list[str]

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])

    @property
    def length(self) -> bytes | None:
        return dict(self.messages[0]["headers"]).get(b"content-length")


def deliver(
    directory: Path, wat: str, settings: dict[str, object] | None = None, *, method: str = "GET", version: str = "1.1"
) -> Delivered:
    """Runs one guest and delivers its output."""
    (directory / "m.wat").write_text(wat)
    module = {"route": "/", "module": str(directory / "m.wat"), **(settings or {})}
    site = load(config_from_tables(Path("test"), {"module": [module], "cache": {"enabled": False}}))
    endpoint = site.routes[0][1]
    request = RequestHead(method, b"/", b"", version, "http", (), None, None, "r1")
    result = Delivered([], None, [])

    async def send(message: Message) -> None:
        result.messages.append(message)

    async def main() -> None:
        async with asyncio.timeout(20), Sandbox(site.engine) as sandbox:
            invocation = Invocation(endpoint.module, b"_start", limits=endpoint.limits, argv=[], environ={})
            ended = asyncio.Event()
            guest = sandbox.start(invocation, on_end=lambda _guest: ended.set())
            if not wat.startswith(SLOW[:-2]):
                # A busy machine may run even a quick guest for longer than GRACE, after which output is streamed.
                await ended.wait()
            try:
                reply, budget = Reply(request, send), SpoolBudget(1 << 20, 1 << 20)
                result.redirect = await Delivery(
                    guest, endpoint, request, reply, budget, result.warnings.append
                ).respond()
            finally:
                guest.release()

    asyncio.run(main())
    site.close()
    return result


@pytest.mark.parametrize(
    ("wat", "method", "version", "body", "length"),
    [
        (guests.HELLO, "GET", "1.1", b"hello world\n", b"12"),
        (guests.HELLO, "HEAD", "1.1", b"", b"12"),
        (SLOW, "GET", "1.1", b"begun ended", None),
        (SLOW, "HEAD", "1.1", b"", None),
        (SLOW, "GET", "1.0", b"begun ended", b"11"),
        (guests.exits(3, guests.CONTENT_TYPE + b"all"), "GET", "1.1", b"all", b"3"),
    ],
    ids="whole|whole HEAD|streamed|slow HEAD|slow HTTP/1.0|exit code".split("|"),
)
def test_complete_responses(
    tmp_path: Path, wat: str, method: str, version: str, body: bytes, length: bytes | None
) -> None:
    delivered = deliver(tmp_path, wat, method=method, version=version)
    assert (delivered.messages[0]["status"], delivered.body, delivered.length) == (200, body, length)
    assert not delivered.messages[-1]["more_body"]
    assert delivered.warnings == []


@pytest.mark.parametrize(
    ("wat", "settings", "error", "message"),
    [
        (guests.NO_OUTPUT, {}, BadOutput, "printed nothing"),
        (guests.says(b"hello\n\n"), {}, BadOutput, "has no colon"),
        (guests.exits(3), {}, GuestFailed, "exited with code 3 before its header block was complete"),
        (guests.exits(3, guests.CONTENT_TYPE), {"strict_exit": True}, GuestFailed, "exited with code 3"),
        (guests.TRAP, {}, GuestFailed, "unreachable"),
        (guests.LOOP, {"limits": {"time": "0.1s"}}, GuestTimeout, "limits.time"),
        (guests.says(b"x-a: " + b"a" * 999 + b"\n\n"), {"limits": {"header_block": 256}}, BadOutput, "longer than 256"),
    ],
    ids="no output|no header|exit|strict exit|trap|time|long header block".split("|"),
)
def test_errors_before_the_response(
    tmp_path: Path, wat: str, settings: dict[str, object], error: type[RequestError], message: str
) -> None:
    with pytest.raises(error, match=message):
        deliver(tmp_path, wat, settings)


def test_a_guest_that_fails_while_it_is_streamed(tmp_path: Path) -> None:
    delivered = deliver(tmp_path, SLOW.removesuffix("))") + "unreachable))")
    assert delivered.messages[0]["status"] == 200
    assert all(message["more_body"] for message in delivered.messages[1:])


def test_a_local_redirect_is_returned(tmp_path: Path) -> None:
    delivered = deliver(tmp_path, guests.exits(3, b"location: /x?y\n\n"))
    assert (delivered.redirect, delivered.messages) == (b"/x?y", [])
    assert delivered.warnings == ["the guest exited with code 3"]


def test_a_location_with_a_body_is_sent(tmp_path: Path) -> None:
    delivered = deliver(tmp_path, guests.says(b"location: /x\n\nbody"))
    assert (delivered.redirect, delivered.messages[0]["status"], delivered.body) == (None, 302, b"body")


def test_local_redirects_may_be_the_clients(tmp_path: Path) -> None:
    delivered = deliver(tmp_path, guests.says(b"location: /x\n\n"), {"local_redirects": "client"})
    assert (delivered.redirect, delivered.messages[0]["status"]) == (None, 302)


def test_a_wrong_content_length_is_warned_of(tmp_path: Path) -> None:
    delivered = deliver(tmp_path, guests.says(b"status: 200\ncontent-length: 9\n\nabc"))
    assert (delivered.length, delivered.body) == (b"3", b"abc")
    assert delivered.warnings == ["the guest's Content-Length is b'9', its body has 3 bytes"]
