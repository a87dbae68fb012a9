"""One request and its response, which is the project in one sentence: match, environ, sandbox, response."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from typing import TYPE_CHECKING

from starlette.types import Receive

from ..cgi.environ import Environ, build_argv, build_environ, withheld
from ..cgi.request import (
    MAX_REDIRECTS,
    Authority,
    FoundAuthority,
    RequestHead,
    check_target,
    find_authority,
    redirected,
)
from ..cgi.response import ResponseHead
from ..cgi.trace import find_trace
from ..errors import (
    AtCapacity,
    BadOutput,
    BadRequest,
    ClientDisconnect,
    MethodNotAllowed,
    NotFound,
    RequestError,
    UriTooLong,
)
from ..http.reply import Reply
from ..http.request import Client, check_framing, discard_body, has_body, read_body
from ..http.spool import Spool
from ..http.static import StaticDirectory
from ..observe.access_log import log_access
from ..observe.worker_metrics import NO_ROUTE
from ..outbound.client import OnBegin
from ..router import RouteMatch
from ..sandbox.guest import Guest
from ..sandbox.invocation import Invocation
from ..site.site import Endpoint
from .admission import ModuleLimit
from .delivery import Delivery
from .generation import Generation
from .guest_resources import GuestResources

if TYPE_CHECKING:
    from ..observe.spans import RequestSpan

logger = logging.getLogger("wagi_gateway")

_ALLOW = MethodNotAllowed.headers
_CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that left before there was one."""


class Exchange:
    """Answers one request, and logs it once it is over."""

    def __init__(self, generation: Generation, request: RequestHead, receive: Receive, reply: Reply) -> None:
        """`generation` is what answers, whatever is reloaded meanwhile."""
        self._generation = generation
        self._request = request
        self._receive = receive
        self._client: Client | None = None
        self._reply = reply
        self._started = time.perf_counter()
        self._seconds = 0.0
        self._is_body_read = not has_body(request)
        self._is_answered = False
        self._route = NO_ROUTE
        self._metrics = generation.metrics
        self._trace = find_trace(request)
        self._span: RequestSpan | None = None
        if generation.tracer:
            self._span = generation.tracer.begin(request, self._trace)
            self._trace = self._span.trace
        self._authority: Authority | None = None
        self._config_route = NO_ROUTE
        """The route of its `[[module]]`, under which it is counted: a module may print any number of others."""
        self._guest: Guest | None = None
        self._unanswered = 500
        """The status in the log where the client got none."""
        self._failure: str | None = None
        """What the client was told instead of a response, in the words of the log."""
        self._is_serious = True
        """Whether a failure is the operator's business: a line of its own, even without an access log."""

    async def answer(self) -> None:
        """Answers the request, whatever happens on the way."""
        self._generation.enter()
        try:
            try:
                await self._dispatch()
            except RequestError as error:
                await self._fail(error)
            except asyncio.CancelledError:  # the server's patience with requests in flight is over
                await self._fail(AtCapacity("the server is stopping"))
        except ClientDisconnect:
            self._failure = "the client went away"
            self._is_serious = False
            self._unanswered = _CLIENT_CLOSED_REQUEST
        finally:
            self._is_answered = True
            self._seconds = time.perf_counter() - self._started
            self._log_when_over()

    async def _fail(self, error: RequestError) -> None:
        self._is_serious = error.status >= 500
        if self._metrics and error.limit:
            self._metrics.route(self._config_route).count_limit(error.limit)
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

    async def _dispatch(self) -> None:
        """Finds the module and has it answer; a local redirect finds the next one."""
        request = self._request
        check_framing(request)
        authority = find_authority(request, self._generation.site.hostname)
        self._authority = authority[0]
        if request.method in ("TRACE", "CONNECT"):
            raise MethodNotAllowed(f"{request.method} is not answered")
        if request.method == "OPTIONS" and request.raw_path == b"*":
            await self._reply.whole(ResponseHead(200, _ALLOW, None), b"")
            return
        location = await self._run(request, authority)
        redirects = 0
        while location is not None:
            redirects += 1
            if redirects > MAX_REDIRECTS:
                raise BadOutput(f"more than {MAX_REDIRECTS} local redirects, the last to {location[:100]!r}")
            try:
                location = await self._run(redirected(request, location), authority)
            except (BadRequest, UriTooLong) as error:
                raise BadOutput(f"a local redirect leads nowhere: {error}") from None

    def _match(self, request: RequestHead) -> RouteMatch[Endpoint | StaticDirectory]:
        check_target(request)
        match = self._generation.site.router.match(request.raw_path)
        if match is None:
            raise NotFound("no route matches")
        self._route = match.pattern
        self._config_route = match.target.config.route
        return match

    async def _run(self, request: RequestHead, authority: FoundAuthority) -> bytes | None:
        """Runs the module the request is for and sends its response on; a local redirect is returned instead."""
        match = self._match(request)
        endpoint = match.target
        if isinstance(endpoint, StaticDirectory):
            await endpoint.answer(request, match, self._receive, self._reply)
            return None
        if endpoint.config.encoded_slashes == "reject" and b"%2f" in match.raw_path_info.lower():
            raise NotFound("the path has an encoded slash (encoded_slashes)")
        environ = build_environ(
            request,
            match,
            authority=authority,
            operator=endpoint.operator,
            pass_authorization=endpoint.config.pass_authorization,
            trace=self._trace.environ if self._trace else {},
        )
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("withheld from the guest: %s", b", ".join(withheld(request)).decode("latin-1") or "nothing")
        resources = GuestResources(match.pattern, request.request_id)
        try:
            stdin = b"" if self._is_body_read else await self._read_body(resources, environ, endpoint)
            invocation = Invocation(
                endpoint.module,
                endpoint.entrypoint.encode(),
                limits=endpoint.limits,
                argv=build_argv(endpoint.config.argv, endpoint.config.argv_mode, request, match.path),
                environ=environ,
                stdin=stdin,
                volumes=endpoint.volumes,
                on_stderr=resources.feed_log,
                outbound=resources.outbound(endpoint, self._metrics, self._begin_call() if endpoint.outbound else None),
            )
            module_limit = self._generation.module_limits[endpoint.number]
            if not module_limit.try_enter():
                await self._wait(module_limit)
            resources.take(module_limit)
            guest = self._guest = self._start(invocation, resources, endpoint)
        except BaseException:
            resources.end()
            raise
        try:
            return await Delivery(self._request, self._reply, self._generation.budget, self._warn).respond(
                guest, endpoint
            )
        finally:
            guest.release()
            if self._client:
                self._client.forget()

    async def _read_body(self, resources: GuestResources, environ: Environ, endpoint: Endpoint) -> bytes | int:
        """Has `resources` hold the body, and returns what is to be standard input."""
        body = resources.body = Spool(self._generation.budget)
        await read_body(body, self._request, self._receive, endpoint.limits)
        self._is_body_read = True
        environ[b"CONTENT_LENGTH"] = b"%d" % body.size
        return body.content()

    def _begin_call(self) -> OnBegin | None:
        """What an outbound call has to do with the trace."""
        trace, span = self._trace, self._span
        if not self._generation.site.config.tracing.propagate:
            return (lambda *call: ((), span.begin_call(*call)[1])) if span else None
        if span:
            return span.begin_call
        return (lambda *_call: (trace.fields, None)) if trace else None

    def _start(self, invocation: Invocation, resources: GuestResources, endpoint: Endpoint) -> Guest:
        """Starts the guest; it owns `resources` from then on, for it may outlive the request. Raises AtCapacity."""
        sandbox = self._generation.sandbox
        if sandbox is None:
            raise AtCapacity("the server is not running")
        metrics, route = self._metrics, self._config_route  # that of a local redirect may be another one
        end_span = self._span.begin_guest(endpoint) if self._span else None

        def ended(guest: Guest) -> None:
            resources.end(guest.stderr_dropped)
            if end_span:
                end_span(guest)
            if metrics and (outcome := guest.outcome):
                stop_reason, is_short = guest.stop_reason, outcome.was_short_of_memory
                note = route, guest.executor, outcome, stop_reason, guest.stderr_dropped, is_short
                metrics.guests.append(note)
            self._log_when_over()

        return sandbox.start(invocation, on_slow=self._watch_client, on_end=ended)

    def _watch_client(self) -> None:
        """The guest takes its time: the client may leave meanwhile."""
        if self._guest:
            self._client = Client(self._receive)
            self._client.watch(functools.partial(self._guest.stop, "disconnect"))

    async def _wait(self, module_limit: ModuleLimit) -> None:
        """Waits for a place as long as the client does."""
        entering = asyncio.ensure_future(module_limit.enter())
        try:
            await Client(self._receive).unless_gone(entering)
        except BaseException:
            if entering.done() and not entering.cancelled() and entering.exception() is None:
                module_limit.leave()  # the place came in the moment of giving up
            raise

    def _warn(self, message: str) -> None:
        logger.warning("%s", message, extra={"fields": {"route": self._route, "id": self._request.request_id}})

    def _log_when_over(self) -> None:
        """Logs the request once it is answered and its guest has ended, whichever comes last."""
        outcome = self._guest.outcome if self._guest else None
        if not self._is_answered or (self._guest and not outcome):
            return
        self._generation.leave()
        failure = self._failure or (self._guest.failure() if self._guest else None)
        has_left = self._failure is None and self._guest and self._guest.stop_reason == "disconnect"
        is_serious = self._is_serious and not has_left
        is_cut_off = failure and self._reply.is_started and not self._reply.is_ended
        if is_cut_off:
            failure = f"{failure}; the response was cut off"
        if failure and is_serious:
            self._warn(failure)
        status = self._reply.status or self._unanswered
        if self._metrics:
            self._metrics.requests.append((self._config_route, status, self._seconds, self._reply.size))
        if self._span:
            is_broken = is_cut_off and is_serious
            self._span.end(
                route=self._route,
                authority=self._authority,
                status=status,
                seconds=self._seconds,
                error=str(status) if status >= 500 else "cut_off" if is_broken else None,
            )
        log_access(
            self._request,
            has_query=self._generation.site.config.log.query,
            route=self._route,
            status=status,
            size=self._reply.size,
            seconds=self._seconds,
            guest_seconds=outcome.seconds if outcome else None,
            trace_id=self._trace.trace_id if self._trace else None,
            reason=None if is_serious else failure,
        )
