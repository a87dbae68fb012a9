"""What a guest holds of the gateway until it has ended, which may be after its request has: it ends with the guest."""

from __future__ import annotations

from ..http.spool import Spool
from ..observe.access_log import log_call
from ..observe.guest_log import GuestLog
from ..observe.worker_metrics import WorkerMetrics
from ..outbound.client import Call, OnBegin
from ..outbound.session import OutboundSession
from ..site.site import Endpoint
from .admission import ModuleLimit


class GuestResources:
    """A place among the guests of its module, the request's body, its outbound calls and its lines in the log.

    Most guests have no body, call nobody and log nothing: what is not asked for is not made.
    """

    __slots__ = ("_log", "_module_limit", "_origin", "_outbound", "body")

    def __init__(self, pattern: str, request_id: str) -> None:
        self.body: Spool | None = None
        self._origin = (pattern, request_id)
        self._module_limit: ModuleLimit | None = None
        self._outbound: OutboundSession | None = None
        self._log: GuestLog | None = None

    def take(self, module_limit: ModuleLimit) -> None:
        """Holds a place that was taken of `module_limit`."""
        self._module_limit = module_limit

    def outbound(
        self, endpoint: Endpoint, metrics: WorkerMetrics | None = None, on_begin: OnBegin | None = None
    ) -> OutboundSession | None:
        """What the guest calls out through, if its module can; its calls are counted where there is a `metrics`, and
        `on_begin` is told of each before it is made."""
        if endpoint.outbound:
            origin, counts = self._origin, metrics and metrics.route(endpoint.config.route)

            # It must not know the lease, or both would live, and a site that was replaced, until garbage is collected.
            def on_call(call: Call) -> None:
                log_call(*origin, call)
                if counts:
                    counts.count_call(call)

            self._outbound = OutboundSession(endpoint.outbound, on_call, on_begin)
        return self._outbound

    def feed_log(self, data: bytes) -> None:
        """Standard error has come."""
        if self._log is None:
            self._log = GuestLog(*self._origin)
        self._log.feed(data)

    def end(self, stderr_dropped: int = 0) -> None:
        """Gives everything back; the place first, because others wait for it."""
        module_limit, self._module_limit = self._module_limit, None
        if module_limit:
            module_limit.leave()
        if self._outbound:
            self._outbound.end()
        if self.body:
            self.body.close()
        if self._log:
            self._log.close(stderr_dropped)
