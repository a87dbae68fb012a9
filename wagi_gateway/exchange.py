"""One request and its response, which is the project in one sentence: match, environ, sandbox, response."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack

from starlette.types import Receive

from .body import check_framing, discard_body, has_body, read_body
from .cgi.environ import FoundAuthority, RequestHead, build_argv, build_environ, check_target, find_authority, withheld
from .cgi.redirect import MAX_REDIRECTS, redirected
from .cgi.response import ResponseHead
from .client import Client
from .delivery import Delivery
from .errors import (
    AtCapacity,
    BadOutput,
    BadRequest,
    ClientDisconnect,
    MethodNotAllowed,
    NotFound,
    RequestError,
    UriTooLong,
)
from .observe.access import log_access
from .observe.call import log_call
from .observe.guest import GuestLog
from .outbound.session import Session
from .reply import Reply
from .router import RouteMatch
from .sandbox import Execution, Gate, Invocation, Sandbox
from .site import Endpoint, Site
from .spool import Spool, SpoolRoom

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
        self._delivery = Delivery(request, reply, room, self._warn)
        self._started = time.perf_counter()
        self._seconds = 0.0
        self._is_body_read = not has_body(request)
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
            authority = find_authority(self._request, self._site.hostname)
            if self._request.method in ("TRACE", "CONNECT"):
                raise MethodNotAllowed(f"{self._request.method} is not answered")
            if self._request.method == "OPTIONS" and self._request.raw_path == b"*":
                await self._reply.whole(ResponseHead(200, _ALLOW, None), b"")
                return
            await self._dispatch(authority)
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
            await self._refuse(error)

    async def _refuse(self, error: RequestError) -> None:
        """Sends the answer so that the client sees it, also while it still sends a body nobody reads."""
        if self._is_body_read:
            await self._reply.fail(error)
        elif self._request.values(b"expect"):
            # A client that waits for `100 Continue` may send its body now, or another request: nobody could tell.
            await self._reply.fail(error, close=True)
        else:
            await self._reply.fail(error, is_last=False)
            await discard_body(self._receive)
            await self._reply.end()

    async def _dispatch(self, authority: FoundAuthority) -> None:
        """Finds the module and has it answer; a local redirect finds the next one."""
        location = await self._run(self._request, authority)
        redirects = 0
        while location is not None:
            redirects += 1
            if redirects > MAX_REDIRECTS:
                raise BadOutput(f"more than {MAX_REDIRECTS} local redirects, the last to {location[:100]!r}")
            try:
                location = await self._run(redirected(self._request, location), authority)
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

    async def _run(self, request: RequestHead, authority: FoundAuthority) -> bytes | None:
        """Runs the module the request is for and sends its response on; a local redirect is returned instead."""
        match = self._match(request)
        endpoint = match.target
        environ = build_environ(
            request,
            match,
            authority=authority,
            operator=endpoint.operator,
            pass_authorization=endpoint.config.pass_authorization,
        )
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("withheld from the guest: %s", b", ".join(withheld(request)).decode("latin-1") or "nothing")
        with ExitStack() as resources:
            body = resources.enter_context(Spool(self._room))
            if not self._is_body_read:
                await read_body(body, request, self._receive, endpoint.limits)
                self._is_body_read = True
                environ[b"CONTENT_LENGTH"] = b"%d" % body.size
            log = GuestLog(match.pattern, request.request_id)
            outbound = None
            if endpoint.outbound:
                outbound = Session(endpoint.outbound, functools.partial(log_call, match.pattern, request.request_id))
                resources.callback(outbound.end)
            invocation = Invocation(
                endpoint.module,
                endpoint.entrypoint.encode(),
                limits=endpoint.limits,
                argv=build_argv(endpoint.config.argv, endpoint.config.argv_mode, request, match.path),
                environ=environ,
                stdin=body.content(),
                volumes=endpoint.volumes,
                on_stderr=log.feed,
                outbound=outbound,
            )
            execution = await self._start(invocation, self._gates[endpoint.number], log, resources)
        try:
            return await self._delivery.respond(execution, endpoint)
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
            await self._wait(gate)
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

    async def _wait(self, gate: Gate) -> None:
        """Waits for a place as long as the client does."""
        entering = asyncio.ensure_future(gate.enter())
        try:
            await self._client.unless_gone(entering)
        except BaseException:
            if entering.done() and not entering.cancelled() and entering.exception() is None:
                gate.leave()  # the place came in the moment of giving up
            raise

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
