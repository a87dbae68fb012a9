"""The ASGI application that is the project in one sentence: match, environ, sandbox, response."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Awaitable
from contextlib import ExitStack
from typing import TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from .body import read_body
from .cgi.environ import RequestHead, build_argv, build_environ
from .cgi.response import HeaderBlock, ResponseHead
from .errors import AtCapacity, BadOutput, GuestFailed, NotFound, OutOfTime, RequestError
from .observe.access import log_access
from .observe.guest import GuestLog
from .reply import Reply
from .router import RouteMatch
from .sandbox import Execution, Gate, Invocation, Places, Sandbox
from .spool import Spool
from .startup import Endpoint, Site

T = TypeVar("T")

logger = logging.getLogger("wagi_gateway")

_BODILESS = frozenset((204, 205, 304))


class Gateway:
    """Answers every request of a site that is not built in."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.sandbox: Sandbox | None = None
        """Where guests run; set while the server is up."""
        self._request_id = _RequestIds()
        places = Places(site.config.server.concurrency)
        self._gates = [
            Gate(places, module.limits.concurrency, module.limits.queue, module.limits.queue_time)
            for module in site.config.module
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, from its head to its line in the log."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        request = _request_head(scope, self._request_id())
        await _Exchange(self, request, receive, Reply(request, send)).answer()

    def gate(self, endpoint: Endpoint) -> Gate:
        """The gate that all routes of the endpoint's module share."""
        return self._gates[endpoint.number]


class _Exchange:
    """One request and its response."""

    def __init__(self, gateway: Gateway, request: RequestHead, receive: Receive, reply: Reply) -> None:
        self.gateway = gateway
        self.request = request
        self.receive = receive
        self.reply = reply
        self.started = time.perf_counter()
        self.route = "-"
        self.execution: Execution | None = None
        self.watch: asyncio.Task[None] | None = None
        self.failure: str | None = None
        """What the client was told instead of a response, in the words of the log."""
        self.level = logging.WARNING
        self.seconds = 0.0
        self.is_answered = False

    async def answer(self) -> None:
        """Answers the request, whatever happens on the way."""
        try:
            await self._answer()
        except ClientDisconnect:
            self.failure = "the client went away"
            self.level = logging.INFO
        finally:
            self.is_answered = True
            self._log_when_over()

    async def _answer(self) -> None:
        try:
            match = self.gateway.site.router.match(self.request.raw_path)
            if match is None:
                raise NotFound("no route matches")
            self.route = match.pattern
            await self._run(match)
        except RequestError as error:
            await self._fail(error)
        except asyncio.CancelledError:  # the server's patience with requests in flight is over
            await self._fail(AtCapacity("the server is stopping"))

    async def _fail(self, error: RequestError) -> None:
        self.level = logging.WARNING if error.status >= 500 else logging.INFO
        if self.reply.is_started:
            self.failure = str(error)
        else:
            self.failure = f"{error.status}: {error}"
            await self.reply.fail(error)

    async def _run(self, match: RouteMatch[Endpoint]) -> None:
        endpoint, request, server = match.target, self.request, self.gateway.site.config.server
        with ExitStack() as resources:
            body = resources.enter_context(Spool(server.body_memory))
            await read_body(body, request, self.receive, endpoint.limits)
            environ = build_environ(
                request,
                match,
                content_length=body.size,
                operator=endpoint.operator,
                hostname=self.gateway.site.hostname,
            )
            log = GuestLog(match.pattern, request.request_id)
            invocation = Invocation(
                endpoint.module,
                endpoint.entrypoint.encode(),
                limits=endpoint.limits,
                argv=build_argv(endpoint.config.argv, match.path, request.query),
                environ=environ,
                stdin=body.content(),
                volumes=endpoint.volumes,
                on_stderr=log.feed,
            )
            execution = await self._start(invocation, self.gateway.gate(endpoint), log, resources)
            try:
                await self._respond(execution)
            finally:
                execution.release()
                if self.watch:
                    self.watch.cancel()

    async def _start(self, invocation: Invocation, gate: Gate, log: GuestLog, resources: ExitStack) -> Execution:
        """Starts the guest, in its turn; it owns `resources` from then on, for it may outlive the request.

        Raises AtCapacity, ClientDisconnect.
        """
        if self.gateway.sandbox is None:
            raise AtCapacity("the server is not running")
        if not gate.try_enter():
            await self._unless_gone(gate.enter())
        owned = ExitStack()
        owned.callback(gate.leave)

        def ended(execution: Execution) -> None:
            owned.close()
            log.close(execution.stderr_dropped)
            self._log_when_over()

        try:
            self.execution = self.gateway.sandbox.start(invocation, on_slow=self._watch_client, on_end=ended)
        except AtCapacity:
            owned.close()
            raise
        owned.push(resources.pop_all())
        return self.execution

    async def _respond(self, execution: Execution) -> None:
        """Reads the guest's output and sends it on. Raises RequestError before the response has begun."""
        head, body = await self._read_head(execution)
        bodiless = self.request.method == "HEAD" or head.status in _BODILESS
        if not execution.is_complete and (bodiless or self.request.http_version == "1.0"):
            await self._respond_at_end(execution, head, body, bodiless=bodiless)
        elif execution.is_complete:
            self._check_end(execution)
            await self.reply.whole(head, body)
        else:
            await self._stream(execution, head, body)

    async def _read_head(self, execution: Execution) -> tuple[ResponseHead, bytes]:
        block = HeaderBlock(execution.invocation.limits.header_block)
        while data := await execution.read():
            if head := block.feed(data):
                return head, block.rest
        self._check_end(execution)
        if execution.failure():
            raise GuestFailed(f"{execution.failure()} before its header block was complete")
        block.close()
        raise BadOutput("the output has no header block")

    async def _stream(self, execution: Execution, head: ResponseHead, body: bytes) -> None:
        """Sends what comes as it comes; a guest that fails on the way leaves a response that is visibly cut off."""
        await self.reply.start(head)
        while True:
            if body:
                await self.reply.send(body)
            body = await execution.read()
            if not body:
                break
        if _is_good(execution):
            await self.reply.end()

    async def _respond_at_end(self, execution: Execution, head: ResponseHead, body: bytes, *, bodiless: bool) -> None:
        """Answers once the guest has ended: nothing is sent on, or the client (HTTP/1.0) knows no chunks."""
        with Spool(self.gateway.site.config.server.body_memory) as spool:
            while body:
                if not bodiless:
                    await _write(spool, body)
                body = await execution.read()
            self._check_end(execution)
            if bodiless:
                await self.reply.whole(head, None)
                return
            await self.reply.start(head, length=spool.size)
            async for piece in spool.chunks():
                await self.reply.send(piece)
            await self.reply.end()

    def _check_end(self, execution: Execution) -> None:
        """Raises what the client is told of a guest that did not end well before its response began."""
        if _is_good(execution):
            return
        match execution.stop_reason:
            case "disconnect":
                raise ClientDisconnect
            case "time":
                raise OutOfTime(execution.failure())
            case "stdout":
                raise BadOutput(execution.failure())
            case "shutdown":
                raise AtCapacity(execution.failure())
        raise GuestFailed(execution.failure())

    def _watch_client(self) -> None:
        """The guest takes its time: from now on a client that leaves ends it."""
        self.watch = asyncio.get_running_loop().create_task(self._stop_when_gone())

    async def _stop_when_gone(self) -> None:
        await _gone(self.receive)
        if self.execution:
            self.execution.stop("disconnect")

    async def _unless_gone(self, awaitable: Awaitable[T]) -> T:
        """Awaits, but no longer than the client does. Raises ClientDisconnect."""
        waiting = asyncio.ensure_future(awaitable)
        gone = asyncio.ensure_future(_gone(self.receive))
        try:
            await asyncio.wait((waiting, gone), return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            raise ClientDisconnect
        finally:
            gone.cancel()
            waiting.cancel()

    def _log_when_over(self) -> None:
        """Logs the request once it is answered and its guest has ended, whichever comes last."""
        self.seconds = self.seconds or (time.perf_counter() - self.started if self.is_answered else 0.0)
        outcome = self.execution.outcome if self.execution else None
        if not self.is_answered or (self.execution and not outcome):
            return
        failure = self.failure or (self.execution.failure() if self.execution else None)
        if failure and self.reply.is_started and not self.reply.is_ended:
            failure += "; the response was cut off"
        if failure:
            fields = {"route": self.route, "id": self.request.request_id}
            logger.log(self.level, "%s", failure, extra={"fields": fields})
        log_access(
            self.request,
            route=self.route,
            status=self.reply.status or 499,
            size=self.reply.size,
            seconds=self.seconds,
            guest_seconds=outcome.seconds if outcome else None,
        )


def _is_good(execution: Execution) -> bool:
    """Whether what the guest printed is its whole answer: an exit code other than 0 does not make it less so."""
    return execution.is_complete and execution.outcome is not None and execution.outcome.kind == "exit"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _write(spool: Spool, data: bytes) -> None:
    try:
        await spool.write(data)
    except OSError as error:
        raise AtCapacity(f"the response cannot be spooled: {error.strerror}") from None


class _RequestIds:
    """Ids that differ between workers and restarts, at the price of a counter."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(5)
        self._count = itertools.count(1)

    def __call__(self) -> str:
        return f"{self._prefix}{next(self._count):08x}"


def _request_head(scope: Scope, request_id: str) -> RequestHead:
    # A copy, because uvicorn appends trailers to the list while the body is read.
    return RequestHead(
        method=scope["method"],
        raw_path=scope.get("raw_path") or scope["path"].encode(),
        query=scope["query_string"],
        http_version=scope["http_version"],
        scheme=scope["scheme"],
        headers=tuple(scope["headers"]),
        client=scope.get("client"),
        server=scope.get("server"),
        request_id=request_id,
    )
