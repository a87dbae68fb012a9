"""The resources of one guest, which may outlive its request: they are freed when the guest has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..http.spool import Spool
from ..observe.access_log import log_call
from ..observe.guest_log import GuestLog
from ..observe.worker_metrics import WorkerMetrics
from ..site.site import Endpoint
from .admission import ModuleLimit
from .request_directory import RequestDirectory

if TYPE_CHECKING:  # httpcore is imported with the first module that makes calls
    from ..outbound.client import Call, OnBegin, OnCallEnd
    from ..outbound.session import OutboundSession


class GuestResources:
    """A guest's share of its module's concurrency, its request body, temporary directory, outbound session
    and log.

    Each is created on first use, because most guests have no body, make no call and write no standard error.
    """

    __slots__ = ("_log", "_origin", "_outbound", "body", "module_limit", "on_call_end", "temporary")

    def __init__(self, pattern: str, request_id: str) -> None:
        """`pattern` is the matched route's; both appear in log lines."""
        self.body: Spool | None = None
        self.module_limit: ModuleLimit | None = None
        """The limit that the guest has entered."""
        self.on_call_end: OnCallEnd | None = None
        """Called with each finished outbound call, on the guest's thread; set before `open_outbound`."""
        self.temporary: RequestDirectory | None = None
        """The guest's own directory TMPDIR."""
        self._origin = (pattern, request_id)
        self._outbound: OutboundSession | None = None
        self._log: GuestLog | None = None

    def open_outbound(
        self, endpoint: Endpoint, metrics: WorkerMetrics | None = None, on_begin: OnBegin | None = None
    ) -> OutboundSession | None:
        """The session for the guest's outbound calls; None for a module that makes none.

        `metrics` counts the calls. `on_begin` is called before each call.
        """
        if endpoint.outbound:
            from ..outbound.session import OutboundSession  # the site has imported it with the client

            origin, counts = self._origin, metrics and metrics.route(endpoint.config.route)
            also = self.on_call_end

            # A reference to `self` would be a cycle, which only the garbage collector frees, seldom: until then a
            # replaced site would stay in memory.
            def on_call_end(call: Call) -> None:
                log_call(*origin, call)
                if counts:
                    counts.count_call(call)
                if also:
                    also(call)

            self._outbound = OutboundSession(endpoint.outbound, on_call_end, on_begin)
        return self._outbound

    def feed_log(self, data: bytes) -> None:
        """Logs standard error."""
        if self._log is None:
            self._log = GuestLog(*self._origin)
        self._log.feed(data)

    def end(self, stderr_dropped: int = 0) -> None:
        """Frees everything, the concurrency first, because requests queue for it. `stderr_dropped` is in bytes."""
        module_limit, self.module_limit = self.module_limit, None
        if module_limit:
            module_limit.leave()
        if self._outbound:
            self._outbound.end()
        if self.body:
            self.body.close()
        if self.temporary:
            self.temporary.close()
        if self._log:
            self._log.close(stderr_dropped)
