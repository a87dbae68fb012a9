"""The exchange of one request and its response: match, environ, sandbox, response."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING

from starlette.types import Receive

from ..cgi.environ import Environ, build_argv, build_environ, is_usual, withheld
from ..cgi.request import MAX_REDIRECTS, FoundAuthority, RequestHead, check_target, find_authority, redirected
from ..cgi.response import ResponseHead
from ..cgi.trace import TraceContext
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
from ..http.request import (
    check_framing,
    discard_body,
    has_body,
    read_body,
    unless_disconnected,
    watch_disconnect,
)
from ..http.spool import Spool
from ..http.static import StaticDirectory
from ..router import RouteMatch
from ..sandbox.guest import Guest
from ..sandbox.invocation import Invocation
from ..site.site import Endpoint
from .admission import ModuleLimit
from .delivery import Delivery
from .generation import Generation
from .guest_resources import GuestResources
from .record import RequestRecord
from .request_directory import RequestDirectory

if TYPE_CHECKING:  # httpcore is imported with the first module that makes calls
    from ..outbound.session import OutboundSession

logger = logging.getLogger("wagi_gateway")

_ALLOW = MethodNotAllowed.headers


class Exchange:
    """Answers one request. The exchange is over once the response is sent and every guest has ended.

    A guest may outlive its response.
    """

    def __init__(self, generation: Generation, request: RequestHead, receive: Receive, reply: Reply) -> None:
        """`generation` serves the whole exchange, whatever is reloaded meanwhile."""
        self._generation = generation
        self._request = request
        self._receive = receive
        self._reply = reply
        self._record = RequestRecord(request, generation)
        self._guest: Guest | None = None
        """The last guest that was started."""
        self._running = 0
        """Guests that were started and have not ended, or have standard error that is not logged."""
        self._redirecting: tuple[Guest, ...] = ()
        """Guests that still ran after their local redirect."""
        self._watch: asyncio.Task[None] | None = None
        """Watches for the client's disconnect while a slow guest runs."""
        self._is_body_read = not has_body(request)
        self._is_done_answering = False

    async def answer(self) -> None:
        """Sends a response, whatever happens. A cancelled request gets 503 before CancelledError is raised again, and
        any other exception than RequestError gets 500."""
        self._generation.enter()
        try:
            await self._dispatch()
        except ClientDisconnect:
            self._record.disconnect()
        except RequestError as error:
            await self._handle_error(error)
        except asyncio.CancelledError:  # the server's shutdown grace has ended, or a timeout around the application
            await self._handle_error(AtCapacity("the server is stopping"))
            raise
        except Exception as error:  # a defect, whose traceback the server logs
            await self._handle_error(RequestError(f"a defect of the gateway: {type(error).__name__}"))
            raise
        finally:
            self._is_done_answering = True
            self._record.stop_clock()
            self._finish_if_over()

    def _finish_if_over(self) -> None:
        """Leaves the generation and finishes the record, once the response is sent and every guest has ended."""
        if self._is_done_answering and not self._running:
            self._finish()

    def _finish(self) -> None:
        self._generation.leave()
        self._record.finish(self._reply, self._guest)

    async def _handle_error(self, error: RequestError) -> None:
        """Records the error, and sends its response unless another response has begun or the client disconnects."""
        self._record.set_error(error, is_started=self._reply.is_started)
        if not self._reply.is_started:
            try:
                await self._send_error(error)
            except ClientDisconnect:
                self._record.disconnect()

    async def _send_error(self, error: RequestError) -> None:
        """Sends the response, then drains the unread request body: closing with unread data resets the connection."""
        if self._is_body_read:
            await self._reply.send_error(error)
        elif self._request.values(b"expect"):
            # After `Expect: 100-continue` the next bytes may be the body or a new request (RFC 9110 section 10.1.1).
            await self._reply.send_error(error, close=True)
        else:
            await self._reply.send_error(error, is_last=False)
            await discard_body(self._receive)
            await self._reply.end()

    async def _dispatch(self) -> None:
        """Checks the request, runs its module, and follows local redirects (RFC 3875 section 6.2.2)."""
        request = self._request
        check_framing(request)
        authority = find_authority(request, self._generation.site.hostname)
        self._record.authority = authority.authority
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
                path = location.partition(b"?")[0]  # a query may be secret
                raise BadOutput(f"more than {MAX_REDIRECTS} local redirects, the last to {path[:100]!r}")
            try:
                location = await self._run(redirected(request, location), authority)
            except (BadRequest, UriTooLong) as error:
                raise BadOutput(f"a local redirect leads nowhere: {error}") from None

    def _match(self, request: RequestHead, *, behind: bool = False) -> RouteMatch[Endpoint | StaticDirectory]:
        """The route of a request; with `behind` the one that answers if a `[[static]]` with `fallback` has no file."""
        check_target(request)
        site = self._generation.site
        match = (site.behind_files if behind else site.router).match(request.raw_path)
        if match is None:
            raise NotFound("no route matches")
        self._record.route = match.pattern
        self._record.config_route = match.target.config.route
        return match

    async def _run(self, request: RequestHead, authority: FoundAuthority) -> bytes | None:
        """Runs the module that the route leads to and sends its response.

        Returns the target of a local redirect; None once a response is sent.
        """
        match = self._match(request)
        endpoint = match.target
        if isinstance(endpoint, StaticDirectory) and endpoint.config.fallback:
            if await endpoint.has_answered(request, match, self._receive, self._reply):
                return None
            match = self._match(request, behind=True)
            endpoint = match.target
        if isinstance(endpoint, StaticDirectory):
            await endpoint.answer(request, match, self._receive, self._reply)
            return None
        operator, path_translated, has_temporary = endpoint.operator, None, False
        if endpoint.document_root is not None:
            script = await endpoint.document_root.answer(request, match, self._receive, self._reply)
            if script is None:
                return None
            match, path_translated = script.match, script.path_translated
            operator = operator | script.variables
            has_temporary = endpoint.config.has_own_temporary
        if endpoint.config.encoded_slashes == "reject" and b"%2f" in match.raw_path_info.lower():
            raise NotFound("the path has an encoded slash (encoded_slashes)")
        trace = self._record.trace
        environ_of = (request, match, endpoint, authority, trace, operator, path_translated)
        if not (is_checked := is_usual(request, match, operator)):
            _environ(*environ_of)  # raises the error of what no environment can hold
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("withheld from the guest: %s", b", ".join(withheld(request)).decode("latin-1") or "nothing")
        resources = GuestResources(match.pattern, request.request_id)
        volumes = endpoint.volumes
        try:
            if has_temporary:
                resources.temporary = RequestDirectory(endpoint.limits.temporary)
                volumes = (resources.temporary.volume, *volumes)  # the devices are last
            stdin: bytes | int = b""
            size = 0
            if not self._is_body_read:
                body = await self._read_body(resources, endpoint)
                stdin, size = body.content(), body.size
            # Positional arguments: keywords would double the cost of an object with so many fields.
            invocation = Invocation(
                endpoint.module,
                endpoint.entrypoint.encode(),
                endpoint.limits,
                build_argv(endpoint.config.argv, endpoint.config.argv_mode, request, match.path),
                functools.partial(_environ, *environ_of, size, is_checked=is_checked),
                stdin,
                volumes,
                resources.feed_log,
                self._open_outbound(resources, endpoint) if endpoint.outbound else None,
            )
            module_limit = self._generation.module_limits[endpoint.number]
            if not module_limit.try_enter():
                await self._wait(module_limit)
            resources.module_limit = module_limit
            guest = self._guest = self._start(invocation, resources, endpoint)
        except BaseException:
            resources.end()
            raise
        try:
            if resources.temporary:
                resources.temporary.watch(guest)
            location = await self._delivery(guest, endpoint).respond()
            if location is not None and guest.outcome is None:
                self._redirecting += (guest,)
            return location
        finally:
            guest.release()
            if self._watch:
                self._watch.cancel()
                self._watch = None

    def _delivery(self, guest: Guest, endpoint: Endpoint) -> Delivery:
        return Delivery(guest, endpoint, self._request, self._reply, self._generation.budget, self._record.warn)

    async def _read_body(self, resources: GuestResources, endpoint: Endpoint) -> Spool:
        """Reads the request body into a spool of `resources`."""
        body = resources.body = Spool(self._generation.budget)
        await read_body(body, self._request, self._receive, endpoint.limits)
        self._is_body_read = True
        return body

    def _open_outbound(self, resources: GuestResources, endpoint: Endpoint) -> OutboundSession | None:
        generation = self._generation
        on_begin = self._record.begin_call(is_propagated=generation.site.config.tracing.propagate)
        return resources.open_outbound(endpoint, generation.metrics, on_begin)

    def _start(self, invocation: Invocation, resources: GuestResources, endpoint: Endpoint) -> Guest:
        """Starts the guest, which owns `resources` from then on and may outlive the request. Raises AtCapacity."""
        sandbox = self._generation.sandbox
        if sandbox is None:
            raise AtCapacity("the server is not running")
        record = self._record
        # Kept here: a local redirect may change `record.config_route` before this guest is counted.
        config_route = record.config_route
        end_span = record.begin_guest(endpoint)

        def end(guest: Guest) -> None:
            resources.end(guest.stderr_dropped)
            record.end_guest(guest, config_route, end_span)
            if guest in self._redirecting and (failure := guest.failure()):
                record.warn(failure)
            self._running -= 1
            self._finish_if_over()

        guest = sandbox.start(invocation, on_slow=self._stop_on_disconnect, on_end=end)
        self._running += 1  # if the guest has ended meanwhile, this makes it 0 again
        return guest

    def _stop_on_disconnect(self) -> None:
        """Called when the guest turns out slow: from now on a disconnect stops it."""
        if self._guest:
            self._watch = watch_disconnect(self._receive, functools.partial(self._guest.stop, "disconnect"))

    async def _wait(self, module_limit: ModuleLimit) -> None:
        """Enters `module_limit` after queueing. Raises AtCapacity, ClientDisconnect."""
        entering = asyncio.ensure_future(module_limit.enter())
        try:
            await unless_disconnected(self._receive, entering)
        except BaseException:
            if entering.done() and not entering.cancelled() and entering.exception() is None:
                module_limit.leave()  # admitted at the moment of the disconnect or cancellation
            raise


def _environ(
    request: RequestHead,
    match: RouteMatch[object],
    endpoint: Endpoint,
    authority: FoundAuthority,
    trace: TraceContext | None,
    operator: Environ,
    path_translated: bytes | None,
    content_length: int = 0,
    *,
    is_checked: bool = False,
) -> Environ:
    """The environment of a guest. A function, not a method: its caller outlives the exchange. Raises RequestError."""
    environ = build_environ(
        request,
        match,
        authority=authority,
        operator=operator,
        pass_authorization=endpoint.config.pass_authorization,
        trace=trace.environ if trace else {},
        is_checked=is_checked,
    )
    environ[b"CONTENT_LENGTH"] = b"%d" % content_length
    if path_translated:
        environ[b"PATH_TRANSLATED"] = path_translated
    elif path_translated is not None:
        del environ[b"PATH_TRANSLATED"]
    return environ
