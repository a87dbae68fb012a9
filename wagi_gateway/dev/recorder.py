"""The gateway of `dev`: each exchange is recorded, and errors become pages for browsers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from starlette.types import Message, Receive, Scope, Send

from ..cgi.request import RequestHead
from ..cgi.response import ResponseHead
from ..errors import RequestError
from ..gateway.delivery import Delivery
from ..gateway.exchange import Exchange
from ..gateway.gateway import Gateway
from ..gateway.generation import Generation
from ..gateway.guest_resources import GuestResources
from ..http.reply import Reply
from ..http.spool import Spool, SpoolBudget
from ..http.static import StaticDirectory
from ..outbound.session import OutboundSession
from ..router import RouteMatch
from ..sandbox.guest import Guest
from ..sandbox.invocation import Invocation, Measurement
from ..site.site import Endpoint, Site
from .history import History
from .live import EVENTS, SCRIPT, LiveReload, LiveResponse
from .recording import Recording

if TYPE_CHECKING:
    from .builds import Builds
    from .error_page import ErrorPages


class Resent(NamedTuple):
    """What is known of a connection before its request arrives: it repeats a recording."""

    parent: int
    client: str | None
    """The client's address that the guest sees; None for the connection's own."""


_CLOSE = (b"connection", b"close")
OnChange = Callable[[Recording], None]


class RecordingGateway(Gateway):
    """Records every request in a history."""

    def __init__(
        self,
        site: Site,
        history: History,
        pages: ErrorPages,
        builds: Builds,
        on_change: OnChange,
        live: LiveReload,
        *,
        is_live: bool = False,
    ) -> None:
        """`on_change` is called when a recording begins, changes or is over. With `is_live` the guests' pages load
        themselves anew, as the error pages do."""
        super().__init__(site)
        self.history = history
        self.pages = pages
        self.builds = builds
        self.on_change = on_change
        self.live = live
        self.compiled = site.loader.compiler.seconds.copy()
        """Seconds of the compilations since the start, by the module's digest."""
        self.is_live = is_live
        self.resent: dict[tuple[str, int], Resent] = {}
        """Requests that the inspector sends, by the address of their connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request of an ASGI server."""
        answer = self.live.answer if scope["path"] in (EVENTS, SCRIPT) else super().__call__
        await answer(scope, receive, send)

    async def swap(self, site: Site) -> None:
        """Answers new requests from `site`. Raises StartupError."""
        await super().swap(site)
        self.compiled |= site.loader.compiler.seconds

    def exchange(self, generation: Generation, request: RequestHead, receive: Receive, send: Send) -> Exchange:
        """The recorded exchange of a request."""
        resent = self.resent.pop(request.client, None) if request.client else None
        if resent and resent.client:
            request = replace(request, client=(resent.client, 0))
        recording = self.history.begin(request, resent.parent if resent else None, self.builds.count)
        return RecordedExchange(self, recording, generation, receive, send)


class RecordedExchange(Exchange):
    """An exchange that writes to a recording what passes through it."""

    def __init__(
        self, gateway: RecordingGateway, recording: Recording, generation: Generation, receive: Receive, send: Send
    ) -> None:
        self.recording = recording
        self._gateway = gateway

        async def recorded_receive() -> Message:
            message = await receive()
            if body := message.get("body", b""):
                recording.body.feed(body)
            return message

        live = LiveResponse(gateway.live.element) if gateway.is_live and recording.request.method == "GET" else None

        # A reference to `self` would be a cycle, which only the garbage collector frees, seldom: until then the request
        # body would stay in memory.
        async def recorded_send(message: Message) -> None:
            await send(live(message) if live and not recording.error else message)
            if recording.see(message):
                gateway.on_change(recording)

        reply = PageReply(recording, recorded_send, gateway)
        super().__init__(generation, recording.request, recorded_receive, reply)
        gateway.on_change(recording)

    async def _dispatch(self) -> None:
        page = self._gateway.pages.of_build(self.recording.request)
        if page is None:
            await super()._dispatch()
            return
        self.recording.error = "the last build has failed"
        await self._reply.whole(*page)

    def _match(self, request: RequestHead, *, behind: bool = False) -> RouteMatch[Endpoint | StaticDirectory]:
        recording = self.recording
        if recording.route and not behind:
            recording.redirect(request.raw_path.decode("latin-1"))
        match = super()._match(request, behind=behind)
        recording.route, target = match.pattern, match.target
        recording.source, recording.config = target.source, None
        if isinstance(target, Endpoint):
            recording.config = target.config
            recording.digest, recording.entrypoint = target.module.digest, target.entrypoint
            recording.compile_seconds = self._gateway.compiled.get(target.module.digest)
        return match

    async def _read_body(self, resources: GuestResources, endpoint: Endpoint) -> Spool:
        body = await super()._read_body(resources, endpoint)
        self.recording.mark("body")
        return body

    def _open_outbound(self, resources: GuestResources, endpoint: Endpoint) -> OutboundSession | None:
        resources.on_call_end = self.recording.add_call
        return super()._open_outbound(resources, endpoint)

    def _start(self, invocation: Invocation, resources: GuestResources, endpoint: Endpoint) -> Guest:
        recording = self.recording
        recording.mark("admitted")
        recording.argv = invocation.argv
        environ = invocation.environ
        recording.environ = invocation.environ = environ() if callable(environ) else environ
        invocation.on_stderr = recording.feed_stderr
        invocation.measurement = Measurement(recording.add_file)
        self._gateway.on_change(recording)
        return super()._start(invocation, resources, endpoint)

    def _delivery(self, guest: Guest, endpoint: Endpoint) -> Delivery:
        budget = self._generation.budget
        return RecordedDelivery(self.recording, guest, endpoint, self._reply, budget, self._record.warn)

    async def _handle_error(self, error: RequestError) -> None:
        self.recording.error = f"{error.status}: {error}"
        self.recording.refused_at = error.output.offset if error.output else None
        if self._guest:
            self._see_end(self._guest)
        await super()._handle_error(error)

    def _finish(self) -> None:
        recording = self.recording
        if self._guest:
            self._see_end(self._guest)
        recording.end()
        super()._finish()
        self._gateway.history.trim()
        self._gateway.on_change(recording)

    def _see_end(self, guest: Guest) -> None:
        recording = self.recording
        recording.outcome, recording.stop_reason = guest.outcome, guest.stop_reason
        recording.failure, recording.executor = guest.failure() or "", guest.executor
        recording.stderr_dropped = guest.stderr_dropped
        measurement = guest.invocation.measurement
        if measurement and measurement.instantiated_ns:  # both clocks are CLOCK_MONOTONIC
            recording.marks["instantiated"] = measurement.instantiated_ns / 1e9 - recording.clock


class PageReply(Reply):
    """A reply whose errors are pages where the client accepts HTML."""

    def __init__(self, recording: Recording, send: Send, gateway: RecordingGateway) -> None:
        super().__init__(recording.request, send)
        self._recording = recording
        self._gateway = gateway

    async def send_error(self, error: RequestError, *, close: bool = False, is_last: bool = True) -> None:
        """Sends the error response."""
        page = self._gateway.pages.of_error(self._recording, error, self._gateway.site)
        if page is None:
            await super().send_error(error, close=close, is_last=is_last)
            return
        head, body = page
        if close and _CLOSE not in head.headers:
            head = ResponseHead(head.status, (*head.headers, _CLOSE), None)
        await self.whole(head, body, is_last=is_last)


class RecordedDelivery(Delivery):
    """A delivery that records the guest's standard output as it is read."""

    __slots__ = ("_recording",)

    def __init__(
        self,
        recording: Recording,
        guest: Guest,
        endpoint: Endpoint,
        reply: Reply,
        budget: SpoolBudget,
        warn: Callable[[str], None],
    ) -> None:
        super().__init__(guest, endpoint, recording.request, reply, budget, warn)
        self._recording = recording

    async def _read(self) -> bytes:
        if data := await super()._read():
            self._recording.mark("first output")
            self._recording.stdout.feed(data)
        return data
