"""The ASGI application that answers with guests: a request's head is read, and the exchange begins."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
from collections import Counter
from contextlib import AsyncExitStack

from starlette.types import Receive, Scope, Send

from ..cgi.forwarded import apply_forwarded
from ..cgi.request import RequestHead
from ..errors import Problem, StartupError
from ..http.reply import Reply
from ..observe.tracing import open_tracer
from ..observe.worker_metrics import WorkerMetrics
from ..sandbox.sandbox import Sandbox
from ..site.site import Site
from ..tls import Certificate
from .exchange import Exchange
from .generation import Generation

_ABSOLUTE_FORM = re.compile(rb"https?://([^/]*)(.*)", re.IGNORECASE | re.DOTALL)


class Gateway:
    """Answers every request of a site that is not built in.

    Its `async with` is the time in which guests can run; at its end every site is closed.
    """

    def __init__(self, site: Site, metrics: WorkerMetrics | None = None) -> None:
        """Without a `metrics` nothing is counted."""
        self.generation = Generation(site, metrics=metrics)
        """What a request that comes now is answered with; a reload puts another one in its place."""
        self.certificate = Certificate(site.certificate) if site.certificate else None
        """What new connections are shown, where the gateway speaks TLS itself."""
        self._living = [self.generation]
        """That and those before it that still have requests."""
        self._endings: dict[Generation, asyncio.Task[None]] = {}
        self._request_ids = itertools.count(1)
        # Different for each worker and start, so that ids differ at the price of a counter.
        self._request_id_prefix = secrets.token_hex(5)

    @property
    def site(self) -> Site:
        """What is served now."""
        return self.generation.site

    @property
    def sandbox(self) -> Sandbox | None:
        """Where guests run now."""
        return self.generation.sandbox

    @sandbox.setter
    def sandbox(self, sandbox: Sandbox | None) -> None:
        self.generation.sandbox = sandbox

    async def __aenter__(self) -> Gateway:
        self.generation.tracer = open_tracer(self.site.config.tracing)
        self.sandbox = await Sandbox(self.site.engine).__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for generation, ending in self._endings.items():
            if generation in self._living:  # it waits for guests, which are stopped now
                ending.cancel()
        await asyncio.gather(*self._endings.values(), return_exceptions=True)
        sandboxes = {generation.sandbox for generation in self._living}
        for generation in self._living:
            generation.sandbox = None
        await asyncio.gather(*(sandbox.__aexit__() for sandbox in sandboxes if sandbox))
        for generation in self._living:
            generation.site.close()
        if self.generation.tracer:
            await asyncio.to_thread(self.generation.tracer.close)

    async def swap(self, site: Site) -> None:
        """Answers with another site from now on; the one before is closed when its last guest has ended.

        Raises StartupError where that is not possible, and then nothing has changed.
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
        new = Generation(site, old)
        new.sandbox = sandbox
        site.succeed(old.site)
        sandbox.forget_inline_policies(except_of={endpoint.module.digest for _, endpoint in site.routes})
        self.generation = new
        self._living.append(new)
        self._endings[old] = asyncio.create_task(self._end(old))

    async def _end(self, old: Generation) -> None:
        await old.over()
        self._living.remove(old)
        if old.sandbox and all(generation.sandbox is not old.sandbox for generation in self._living):
            await old.sandbox.__aexit__()
        old.sandbox = None  # or the engine would still be there when memory is given back
        await asyncio.to_thread(old.site.release)
        del self._endings[old]

    def count(self, metrics: WorkerMetrics) -> None:
        """Has a tally count what has been noted since, and show how much is under way."""
        metrics.count()
        loads = {
            module_limit: module.route
            for generation in self._living
            for module, module_limit in zip(generation.site.config.module, generation.module_limits, strict=True)
        }
        running: Counter[str] = Counter()
        waiting: Counter[str] = Counter()
        for module_limit, route in loads.items():
            inside, outside = module_limit.load
            running[route] += inside
            waiting[route] += outside
        in_flight = sum(generation.users for generation in self._living)
        metrics.show(in_flight, {route: (running[route], waiting[route]) for route in running})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, from its head to its line in the log."""
        request_id = f"{self._request_id_prefix}{next(self._request_ids):08x}"
        generation = self.generation
        request = apply_forwarded(_request_head(scope, request_id), generation.site.config.server.trusted_proxies)
        await Exchange(generation, request, receive, Reply(request, send)).answer()


def _request_head(scope: Scope, request_id: str) -> RequestHead:
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    # A copy, because a server may go on appending to the list while the body is read. Blanks around a value are no part
    # of it (RFC 9110 section 5.5), and not every parser takes them off.
    headers = tuple([(name, value.strip(b" \t")) for name, value in scope["headers"]])
    absolute = None if raw_path.startswith(b"/") else _ABSOLUTE_FORM.fullmatch(raw_path)
    return RequestHead(
        method=scope["method"],
        raw_path=(absolute[2] or b"/") if absolute else raw_path,
        query=scope["query_string"],
        http_version=scope["http_version"],
        scheme=scope["scheme"],
        headers=headers,
        client=scope.get("client"),
        server=scope.get("server"),
        request_id=request_id,
        target_authority=absolute[1] if absolute else None,
    )
