"""Targets: a guest's output as a response on the wire."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tests.fuzz.wire import SILENT, Transport, answers, finished, in_pieces
from tests.support.http_client import Answer
from wagi_gateway.cgi.request import RequestHead, check_target, redirected
from wagi_gateway.cgi.response import FRONT_END, HeaderBlock, ResponseHead
from wagi_gateway.errors import BadOutput, RequestError
from wagi_gateway.gateway.delivery import Delivery
from wagi_gateway.http.reply import Reply
from wagi_gateway.http.spool import SpoolBudget
from wagi_gateway.sandbox.guest import Guest
from wagi_gateway.sandbox.invocation import Outcome
from wagi_gateway.site.site import Endpoint

_ROOM = SpoolBudget(1 << 30, 1 << 20)
_END = re.compile(rb"\n\r?\n")
_CONNECTION = {b"keep-alive", b"te", b"trailer", b"upgrade", b"proxy-connection", b"proxy-authenticate", b"date"}
_ORDERS = tuple(FRONT_END)
_GATEWAYS = (b"server", b"x-request-id", b"content-length", b"transfer-encoding", b"connection")
_CT = b"Content-Type: text/plain\n"

SEEDS = tuple(
    bytes((flags, step, 255)) + output
    for flags in (0, 16)
    for step, output in (
        (0, _CT + b"\nhello"),
        (1, _CT.replace(b"\n", b"\r\n") + b"Status: 404 Not Found\r\n\r\nhello\n\n"),
        (3, b"Location: /a/b?c\n\n"),
        (2, b"Location: //host/x\nStatus: 307\n\nbody"),
        (5, b"Location: http://a.example/\nX-A: 1\nX-A: 2\nSet-Cookie: a\nSet-Cookie: b\n\n"),
        (0, b"Status: 204\nContent-Length: 3\n\nabc"),
        (7, _CT + b"X-Accel-Redirect: /x\nX-Envoy-Degraded: 1\nConnection: close\nDate: x\nServer: y\nProxy-A: 1\n\n"),
        (1, _CT + b"Transfer-Encoding: chunked\n\n0\r\n\r\n"),
        (1, _CT + b"X: a\rSet-Cookie: e=1\n\nhi"),
    )
)
BLOCK_SEEDS = tuple(seed[1:] for seed in SEEDS[: len(SEEDS) // 2])


def check_block(data: bytes) -> None:
    """A header block read in pieces and at once: the first byte is the size of a piece, the second the limit."""
    step, limit, output = *data[:2].ljust(2, b"\0"), data[2:]
    at_once = _block([output], limit * 8)
    assert at_once == _block(in_pieces(output, step), limit * 8)
    head, rest = at_once
    if head is None or isinstance(head, str):
        return
    assert output.endswith(rest)
    assert 200 <= head.status <= 599
    for name, value in head.headers:
        assert re.fullmatch(rb"[!#$%&'*+\-.^_`|~0-9a-z]+", name)
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]|^[ \t]|[ \t]$", value)
    names = [name for name, _ in head.headers]
    assert not {*_GATEWAYS, b"status"} & set(names)
    assert not [name for name in names if name.startswith((*_ORDERS, b"proxy-"))]
    assert max(names.count(b"content-type"), names.count(b"location")) <= 1


def _block(pieces: list[bytes], limit: int) -> tuple[ResponseHead | str | None, bytes]:
    block = HeaderBlock(limit)
    try:
        for number, piece in enumerate(pieces):
            if head := block.feed(piece):
                return head, block.rest + b"".join(pieces[number + 1 :])
    except BadOutput as error:
        return str(error), b""
    return None, b""


class _Output:
    """The end of a guest that has printed: its output for `read`, and its outcome."""

    stop_reason = None
    has_closed_stdout = False

    def __init__(self, pieces: list[bytes], outcome: Outcome, *, is_fast: bool) -> None:
        self._pieces = pieces
        self._is_fast = is_fast
        self._outcome = outcome
        self._is_drained = False

    @property
    def outcome(self) -> Outcome | None:
        return self._outcome if self._is_fast or self._is_drained else None

    @property
    def is_complete(self) -> bool:
        return self._is_drained

    def failure(self) -> str | None:
        outcome = self.outcome
        return None if outcome is None or (outcome.kind == "exit" and not outcome.code) else "it failed"

    async def read(self) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        self._is_drained = not piece or (self._is_fast and not self._pieces)
        return piece


@dataclass(frozen=True, slots=True)
class Delivered:
    """The result of an output: a local redirect, or a response, which may be the gateway's own."""

    redirect: bytes | None
    answer: Answer
    error: RequestError | None


def delivered(pieces: list[bytes], case: Case, *, is_fast: bool) -> Delivered:
    """The result of a real `Delivery` for an output that arrives in pieces."""
    transport = Transport()
    cycle = RequestResponseCycle(
        scope=cast(Any, {"method": case.request.method, "http_version": case.request.http_version}),
        transport=transport,
        flow=FlowControl(transport),
        logger=SILENT,
        access_logger=SILENT,
        access_log=False,
        default_headers=[(b"server", b"wagi-gateway")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=not case.is_http_1_0,
        on_response=lambda: None,
    )
    reply = Reply(case.request, cast(Any, cycle.send))
    output = _Output(pieces, case.outcome, is_fast=is_fast)
    redirect = error = None
    try:
        guest, endpoint = cast(Guest, output), cast(Endpoint, case)
        delivery = Delivery(guest, endpoint, case.request, reply, _ROOM, lambda _message: None)
        redirect = finished(delivery.respond())
    except RequestError as raised:
        error = raised
        assert not reply.is_started
        finished(reply.send_error(error))
    if redirect is not None:
        assert not transport.written
        return Delivered(redirect, Answer(0), None)
    (answer,) = answers(transport.written, is_head=case.is_head)
    assert reply.is_ended or not answer.is_complete or case.is_head
    assert transport.is_closing() == (case.is_http_1_0 and reply.is_ended)
    return Delivered(None, answer, error)


class Case:
    """A case; its first three bytes are flags, the size of a piece and the limit of the header block."""

    def __init__(self, data: bytes) -> None:
        flags, self.step, limit = data[:3].ljust(3, b"\0")
        self.output = data[3:]
        self.is_head, self.is_http_1_0, self.front_end_headers, is_internal, strict_exit, traps, code = (
            bool(flags & 1 << bit) for bit in range(7)
        )
        version = "1.0" if self.is_http_1_0 else "1.1"
        self.request = RequestHead("HEAD" if self.is_head else "GET", b"/", b"", version, "http", (), None, None, "id")
        self.outcome = Outcome("trap", message="unreachable") if traps else Outcome("exit", code=code)
        # The attributes of an endpoint.
        self.limits = SimpleNamespace(header_block=8 + limit * 8)
        self.config = SimpleNamespace(
            front_end_headers=self.front_end_headers,
            local_redirects="internal" if is_internal else "client",
            strict_exit=strict_exit,
        )


def check(data: bytes) -> None:
    """The response depends neither on the pieces of the output nor on the time of the guest's end."""
    case = Case(data)
    fast = delivered(in_pieces(case.output, 0), case, is_fast=True)
    slow = delivered(in_pieces(case.output, case.step), case, is_fast=False)
    if fast.error and not slow.error:  # the slow response had begun when the guest failed
        assert case.outcome != Outcome("exit")
        assert slow.answer.is_complete == (case.outcome.kind == "exit")
    else:
        assert slow.redirect == fast.redirect
        assert type(slow.error) is type(fast.error)
        assert slow.answer.is_complete
        assert slow.answer.status == fast.answer.status
        assert _own(slow.answer) == _own(fast.answer)
        assert slow.answer.body == fast.answer.body
    for one in (fast, slow):
        if one.redirect is not None:
            check_redirect(case.request, one.redirect)
        else:
            check_answer(one, case)


def _own(answer: Answer) -> list[tuple[bytes, bytes]]:
    """The fields of a response, without the framing."""
    return [field for field in answer.headers if field[0] not in (b"content-length", b"transfer-encoding")]


def check_redirect(request: RequestHead, location: bytes) -> None:
    """A local redirect becomes a request or is refused."""
    try:
        check_target(redirected(request, location))
    except RequestError as error:
        assert error.status in (400, 414)


def check_answer(one: Delivered, case: Case) -> None:
    """The response is the guest's output, or the gateway's own error."""
    answer = one.answer
    names = [name for name, _ in answer.headers]
    assert not answer.interim
    assert answer.status in range(200, 600)
    assert not _CONNECTION & set(names)
    assert names.count(b"x-request-id") == names.count(b"server") == 1
    assert answer.value("x-request-id") == b"id"
    assert (answer.value("connection") == b"close") == case.is_http_1_0
    if not case.front_end_headers:
        assert not [name for name in names if name.startswith(_ORDERS)]
    end = _END.search(case.output)
    begins_badly = case.output.startswith((b"\n", b"\r\n"))
    if one.error:
        assert one.error.status == answer.status
        assert answer.status == 502 or (answer.status == 500 and case.outcome != Outcome("exit"))
        return
    assert end
    assert not begins_badly
    assert end.start() <= case.limits.header_block
    block = case.output[: end.start()].lower()
    for name, value in answer.headers:
        if name not in _GATEWAYS:
            assert name + b":" in block
            assert value.removeprefix(b"/.").lower() in block
    if answer.is_complete and not case.is_head and answer.status not in (204, 205, 304):
        assert answer.body == case.output[end.end() :]
