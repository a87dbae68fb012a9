"""One request and its response, which is the project in one sentence: match, environ, sandbox, response."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack

from starlette.types import Receive

from .body import check_framing, read_body
from .cgi.environ import RequestHead, build_argv, build_environ, check_target
from .cgi.redirect import MAX_REDIRECTS, redirected
from .cgi.response import HeaderBlock, ResponseHead
from .client import Client
from .errors import (
    AtCapacity,
    BadOutput,
    BadRequest,
    BodyTooLarge,
    ClientDisconnect,
    GuestFailed,
    MethodNotAllowed,
    NotFound,
    OutOfTime,
    RequestError,
    UriTooLong,
)
from .observe.access import log_access
from .observe.guest import GuestLog
from .reply import Reply
from .router import RouteMatch
from .sandbox import Execution, Gate, Invocation, Sandbox
from .spool import Spool, SpoolRoom
from .startup import Endpoint, Site

logger = logging.getLogger("wagi_gateway")

_ALLOW = MethodNotAllowed.headers
_CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that left before there was one."""


class Exchange:
    """Answers one request, and logs it once it is over."""

    def __init__(
        self,
        site: Site,
        sandbox: Sandbox | None,
        gates: Sequence[Gate],
        room: SpoolRoom,
        request: RequestHead,
        receive: Receive,
        reply: Reply,
    ) -> None:
        """`gates` holds one for each `[[module]]`; without a `sandbox` no guest can run."""
        self._site = site
        self._sandbox = sandbox
        self._gates = gates
        self._room = room
        self._request = request
        self._receive = receive
        self._client = Client(receive)
        self._reply = reply
        self._started = time.perf_counter()
        self._seconds = 0.0
        self._is_answered = False
        self._route = "-"
        self._execution: Execution | None = None
        self._unanswered = 500
        """The status in the log where the client got none."""
        self._failure: str | None = None
        """What the client was told instead of a response, in the words of the log."""
        self._is_serious = True
        """Whether a failure is the operator's business: a line of its own, even without an access log."""

    async def answer(self) -> None:
        """Answers the request, whatever happens on the way."""
        try:
            await self._answer()
        except ClientDisconnect:
            self._failure = "the client went away"
            self._is_serious = False
            self._unanswered = _CLIENT_CLOSED_REQUEST
        finally:
            self._is_answered = True
            self._seconds = time.perf_counter() - self._started
            self._log_when_over()

    async def _answer(self) -> None:
        try:
            check_framing(self._request)
            if self._request.method == "TRACE":
                raise MethodNotAllowed("TRACE is not answered")
            if self._request.method == "OPTIONS" and self._request.raw_path == b"*":
                await self._reply.whole(ResponseHead(200, _ALLOW, None), b"")
                return
            await self._dispatch()
        except RequestError as error:
            await self._fail(error)
        except asyncio.CancelledError:  # the server's patience with requests in flight is over
            await self._fail(AtCapacity("the server is stopping"))

    async def _fail(self, error: RequestError) -> None:
        self._is_serious = error.status >= 500
        if self._reply.is_started:
            self._failure = str(error)
        else:
            self._failure = f"{error.status}: {error}" if self._is_serious else str(error)
            # A client that waits for `100 Continue` may send its body now, or another request: nobody could tell.
            is_waiting = bool(self._request.values(b"expect")) and isinstance(error, BodyTooLarge)
            await self._reply.fail(error, close=is_waiting)

    async def _dispatch(self) -> None:
        """Finds the module and has it answer; a local redirect finds the next one."""
        location = await self._run(self._request)
        redirects = 0
        while location is not None:
            redirects += 1
            if redirects > MAX_REDIRECTS:
                raise BadOutput(f"more than {MAX_REDIRECTS} local redirects, the last to {location[:100]!r}")
            try:
                location = await self._run(redirected(self._request, location))
            except (BadRequest, UriTooLong) as error:
                raise BadOutput(f"a local redirect leads nowhere: {error}") from None

    def _match(self, request: RequestHead) -> RouteMatch[Endpoint]:
        check_target(request)
        match = self._site.router.match(request.raw_path)
        if match is None:
            raise NotFound("no route matches")
        self._route = match.pattern
        if match.target.config.encoded_slashes == "reject" and b"%2f" in match.raw_path_info.lower():
            raise NotFound("the path has an encoded slash (encoded_slashes)")
        return match

    async def _run(self, request: RequestHead) -> bytes | None:
        """Runs the module the request is for and sends its response on; a local redirect is returned instead."""
        match = self._match(request)
        endpoint = match.target
        environ = build_environ(
            request,
            match,
            content_length=0,
            operator=endpoint.operator,
            hostname=self._site.hostname,
            pass_authorization=endpoint.config.pass_authorization,
        )
        with ExitStack() as resources:
            body = resources.enter_context(Spool(self._room))
            if request is self._request:
                await read_body(body, request, self._receive, endpoint.limits)
                environ[b"CONTENT_LENGTH"] = b"%d" % body.size
            log = GuestLog(match.pattern, request.request_id)
            invocation = Invocation(
                endpoint.module,
                endpoint.entrypoint.encode(),
                limits=endpoint.limits,
                argv=build_argv(endpoint.config.argv, endpoint.config.argv_mode, request, match.path),
                environ=environ,
                stdin=body.content(),
                volumes=endpoint.volumes,
                on_stderr=log.feed,
            )
            execution = await self._start(invocation, self._gates[endpoint.number], log, resources)
        try:
            return await self._respond(execution, endpoint)
        finally:
            execution.release()
            self._client.forget()

    async def _start(self, invocation: Invocation, gate: Gate, log: GuestLog, resources: ExitStack) -> Execution:
        """Starts the guest, in its turn; it owns `resources` from then on, for it may outlive the request.

        Raises AtCapacity, ClientDisconnect.
        """
        if self._sandbox is None:
            raise AtCapacity("the server is not running")
        if not gate.try_enter():
            await self._client.unless_gone(gate.enter())
        owned = ExitStack()
        owned.callback(gate.leave)

        def ended(execution: Execution) -> None:
            owned.close()
            log.close(execution.stderr_dropped)
            self._log_when_over()

        def slow() -> None:
            self._client.watch(lambda: execution.stop("disconnect"))

        try:
            execution = self._sandbox.start(invocation, on_slow=slow, on_end=ended)
        except AtCapacity:
            owned.close()
            raise
        owned.push(resources.pop_all())
        self._execution = execution
        return execution

    async def _respond(self, execution: Execution, endpoint: Endpoint) -> bytes | None:
        """Reads the guest's output and sends it on. Raises RequestError before the response has begun."""
        head, body = await self._read_head(execution, endpoint)
        if head.local_redirect and endpoint.config.local_redirects == "internal":
            body = body or await execution.read()
            if not body:
                self._check_end(execution, endpoint)
                return head.local_redirect
        if execution.is_complete:
            self._check_end(execution, endpoint)
            self._check_length(head, len(body))
            await self._reply.whole(head, body)
        elif self._is_bodiless(head) or self._request.http_version == "1.0":
            await self._respond_at_end(execution, endpoint, head, body)
        else:
            await self._stream(execution, head, body)
        return None

    def _is_bodiless(self, head: ResponseHead) -> bool:
        return head.is_bodiless or self._request.method == "HEAD"

    async def _read_head(self, execution: Execution, endpoint: Endpoint) -> tuple[ResponseHead, bytes]:
        block = HeaderBlock(endpoint.limits.header_block, front_end_headers=endpoint.config.front_end_headers)
        while data := await execution.read():
            if head := block.feed(data):
                return head, block.rest
        self._check_end(execution, endpoint)
        if execution.failure():
            raise GuestFailed(f"{execution.failure()} before its header block was complete")
        block.close()
        raise BadOutput("the output has no header block")

    async def _stream(self, execution: Execution, head: ResponseHead, body: bytes) -> None:
        """Sends what comes as it comes; a guest that fails on the way leaves a response that is visibly cut off."""
        await self._reply.start(head)
        if body:
            await self._reply.send(body)
        while body := await execution.read():
            await self._reply.send(body)
        if _is_good(execution):
            self._check_length(head, self._reply.size)
            await self._reply.end()

    async def _respond_at_end(self, execution: Execution, endpoint: Endpoint, head: ResponseHead, body: bytes) -> None:
        """Answers once the guest has ended: the body is not sent on, or the client (HTTP/1.0) knows no chunks."""
        is_bodiless = self._is_bodiless(head)
        with Spool(self._room) as spool:
            if not is_bodiless:
                await spool.write(body)
            while body := await execution.read():
                if not is_bodiless:
                    await spool.write(body)
            self._check_end(execution, endpoint)
            if is_bodiless:
                await self._reply.whole(head, None)
                return
            self._check_length(head, spool.size)
            await self._reply.start(head, length=spool.size)
            async for piece in spool.chunks():
                await self._reply.send(piece)
            await self._reply.end()

    def _check_end(self, execution: Execution, endpoint: Endpoint) -> None:
        """Raises what the client is told of a guest that did not end well before its response began."""
        if _is_good(execution) and not (endpoint.config.strict_exit and execution.failure()):
            return
        match execution.stop_reason:
            case "disconnect":
                raise ClientDisconnect
            case "time":
                raise OutOfTime(execution.failure())
            case "descriptors":
                raise AtCapacity(execution.failure())
            case "stdout":
                raise BadOutput(execution.failure())
            case "shutdown":
                raise AtCapacity(execution.failure())
        if execution.outcome and execution.outcome.kind == "starved":
            raise AtCapacity(execution.failure())
        raise GuestFailed(execution.failure())

    def _check_length(self, head: ResponseHead, length: int) -> None:
        """Notes a guest that counts wrong; the gateway's count is the one that is sent."""
        if head.content_length not in (None, b"%d" % length) and self._request.method != "HEAD":
            self._warn(f"the guest's Content-Length is {head.content_length!r}, its body has {length} bytes")

    def _warn(self, message: str) -> None:
        logger.warning("%s", message, extra={"fields": {"route": self._route, "id": self._request.request_id}})

    def _log_when_over(self) -> None:
        """Logs the request once it is answered and its guest has ended, whichever comes last."""
        outcome = self._execution.outcome if self._execution else None
        if not self._is_answered or (self._execution and not outcome):
            return
        failure = self._failure or (self._execution.failure() if self._execution else None)
        has_left = self._failure is None and self._execution and self._execution.stop_reason == "disconnect"
        is_serious = self._is_serious and not has_left
        if failure and self._reply.is_started and not self._reply.is_ended:
            failure += "; the response was cut off"
        if failure and is_serious:
            self._warn(failure)
        log_access(
            self._request,
            route=self._route,
            status=self._reply.status or self._unanswered,
            size=self._reply.size,
            seconds=self._seconds,
            guest_seconds=outcome.seconds if outcome else None,
            reason=None if is_serious else failure,
        )


def _is_good(execution: Execution) -> bool:
    """Whether what the guest printed is its whole answer: an exit code other than 0 does not make it less so."""
    return execution.is_complete and execution.outcome is not None and execution.outcome.kind == "exit"
