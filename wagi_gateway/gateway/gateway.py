"""The ASGI application of guests: reads a request's head, and begins the exchange."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack

from starlette.types import Receive, Scope, Send

from ..cgi.forwarded import Proxies, apply_forwarded, ignored_proxy
from ..cgi.request import RequestHead
from ..errors import Problem, StartupError
from ..http.reply import Reply
from ..observe.tracing import open_tracer
from ..observe.worker_metrics import WorkerMetrics
from ..sandbox.sandbox import Sandbox
from ..site.site import Site, release
from ..tls import Certificate
from .exchange import Exchange
from .generation import Generation

_ABSOLUTE_FORM = re.compile(rb"https?://([^/]*)(.*)", re.IGNORECASE | re.DOTALL)

logger = logging.getLogger("wagi_gateway")


class Gateway:
    """Answers every request of a site. Guests can run within its `async with`, at whose end every site is closed."""

    def __init__(
        self, site: Site, metrics: WorkerMetrics | None = None, may_notice: Callable[[], bool] = lambda: True
    ) -> None:
        """Without `metrics` nothing is counted. `may_notice` is called once at most, and allows a warning that is for
        one process of several to write."""
        self.generation = Generation(site, metrics)
        """Serves new requests; a reload replaces it."""
        self.certificate = Certificate(site.certificate) if site.certificate else None
        """The certificate of new connections, if the gateway terminates TLS."""
        self._living = [self.generation]
        """The current generation, and replaced ones that still have requests."""
        self._draining: dict[Generation, asyncio.Task[None]] = {}
        """Replaced generations, and the tasks that wait for their last request."""
        self._releasing: set[asyncio.Task[None]] = set()
        """The tasks of `_drain` that free a generation whose last request has ended."""
        self._may_notice = may_notice
        self._has_noticed_proxy = False
        """Whether a reverse proxy that `server.trusted_proxies` does not name was warned of."""
        self._request_ids = itertools.count(1)
        # A random prefix makes ids differ between workers and starts, at the price of a counter.
        self._request_id_prefix = secrets.token_hex(5)

    @property
    def site(self) -> Site:
        """The site that new requests are answered from."""
        return self.generation.site

    @property
    def sandbox(self) -> Sandbox | None:
        """The sandbox of new requests; None unless the gateway is started."""
        return self.generation.sandbox

    async def __aenter__(self) -> Gateway:
        """Raises OSError, RuntimeError where the system has no descriptor or thread left."""
        self.generation.tracer = open_tracer(self.site.config.tracing)
        self.generation.sandbox = await Sandbox(self.site.engine).__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops every guest, closes every site and sends the last spans."""
        draining = self._draining.values()
        for task in draining:
            task.cancel()
        await asyncio.gather(*draining, *self._releasing, return_exceptions=True)
        sandboxes = {generation.sandbox for generation in self._living}
        for generation in self._living:
            generation.sandbox = None
        await asyncio.gather(*(sandbox.__aexit__() for sandbox in sandboxes if sandbox))
        for generation in self._living:
            generation.site.close()
        if self.generation.tracer:
            await asyncio.to_thread(self.generation.tracer.close)

    async def swap(self, site: Site) -> None:
        """Answers new requests from `site`; the replaced site is freed when its last request is over.

        Raises StartupError where that is not possible; nothing has changed then.
        """
        old = self.generation
        if old.sandbox is None:
            raise StartupError(Problem("", "the server is stopping"))
        sandbox = old.sandbox if site.engine is old.site.engine else Sandbox(site.engine)
        try:
            async with AsyncExitStack() as undo:
                if sandbox is not old.sandbox:
                    await undo.enter_async_context(sandbox)
                if self.certificate and site.certificate:
                    self.certificate.renew(site.certificate)
                undo.pop_all()
        except (OSError, RuntimeError) as error:  # no descriptor, no thread
            raise StartupError(Problem("", f"the system has no room for another sandbox: {error}")) from None
        new = Generation.after(old, site, sandbox)
        site.take_over_from(old.site)
        sandbox.forget_inline_policies(except_of={endpoint.module.digest for _, endpoint in site.routes})
        self.generation = new
        self._living.append(new)
        self._draining[old] = asyncio.create_task(self._drain(old))

    async def _drain(self, old: Generation) -> None:
        """Waits for the last request of a replaced generation, closes its sandbox and site and frees its memory."""
        await old.over()
        self._living.remove(old)
        task = self._draining.pop(old)
        self._releasing.add(task)
        try:
            if old.sandbox and all(generation.sandbox is not old.sandbox for generation in self._living):
                await old.sandbox.__aexit__()
            sites = [old.site]
            del old  # `release` drops the last reference to the site
            await asyncio.to_thread(release, sites)
        except Exception:
            logger.exception("a replaced site could not be closed")
        finally:
            self._releasing.remove(task)

    def count(self, metrics: WorkerMetrics) -> None:
        """Counts the events of ended requests and guests, and sets the gauges of those in flight."""
        metrics.count()
        routes = {
            module_limit: module.route
            for generation in self._living
            for module, module_limit in zip(generation.site.config.module, generation.module_limits, strict=True)
        }
        running: Counter[str] = Counter()
        waiting: Counter[str] = Counter()
        for module_limit, route in routes.items():
            running[route] += module_limit.running
            waiting[route] += module_limit.waiting
        in_flight = sum(generation.users for generation in self._living)
        metrics.show(in_flight, {route: (running[route], waiting[route]) for route in running})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request of an ASGI server."""
        request_id = f"{self._request_id_prefix}{next(self._request_ids):08x}"
        generation = self.generation
        request = _request_head(scope, request_id)
        trusted = generation.trusted_proxies
        if not self._has_noticed_proxy and b"x-forwarded-for" in request.fields:
            self._notice_proxy(request, trusted)
        if trusted:
            request = apply_forwarded(request, trusted)
        await self.exchange(generation, request, receive, send).answer()

    def exchange(self, generation: Generation, request: RequestHead, receive: Receive, send: Send) -> Exchange:
        """The exchange that answers a request."""
        return Exchange(generation, request, receive, Reply(request, send))

    def _notice_proxy(self, request: RequestHead, trusted: tuple[Proxies, ...]) -> None:
        """Warns once of a reverse proxy that `server.trusted_proxies` does not name."""
        if proxy := ignored_proxy(request, trusted):
            self._has_noticed_proxy = True
            if not self._may_notice():
                return
            peer = "the UNIX socket" if proxy == "unix" else proxy
            what = 'X-Forwarded-For from %s is ignored; name a reverse proxy in server.trusted_proxies = ["%s"]'
            logger.warning(what, peer, proxy)


def _request_head(scope: Scope, request_id: str) -> RequestHead:
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    # A copy, because a server may append trailers to the list while the body is read.
    headers = tuple(scope["headers"])
    absolute = None if raw_path.startswith(b"/") else _ABSOLUTE_FORM.fullmatch(raw_path)
    # Positional arguments: keywords would double the cost of an object with so many fields.
    return RequestHead(
        scope["method"],
        (absolute[2] or b"/") if absolute else raw_path,
        scope["query_string"],
        scope["http_version"],
        scope["scheme"],
        headers,
        scope.get("client"),
        scope.get("server"),
        request_id,
        absolute[1] if absolute else None,
    )
