"""Reload: reads the configuration again, loads a site beside the one that is served, and swaps the two."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from ..config.file import ConfigFile
from ..config.settings import Config, SettingsTable
from ..config.values import as_written
from ..errors import LoadCancelled, Problem, StartupError, counted
from ..memory import check_memory, memory_bound
from ..observe.process_registry import ServedSite
from ..site.load import load
from ..site.site import Site
from .gateway import Gateway

logger = logging.getLogger("wagi_gateway")

T = TypeVar("T")

Read = Callable[[], ConfigFile]
"""Reads the current configuration."""
OnReload = Callable[[ServedSite | None, StartupError | None], None]
"""Called after a reload with the site that is served from now on, or with the error that prevented it."""

FIXED_SETTINGS = {
    "server": ("listen", "socket_mode", "workers", "send_timeout"),
    "admin": ("listen",),
    "tracing": ("export",),
}
"""The settings, by table, that have no effect before a restart."""


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """The outcome of a successful reload."""

    routes: int
    """The number of routes that are served, those of directories included."""
    seconds: float
    warnings: tuple[Problem, ...] = ()


class Reloader:
    """Reloads a gateway, one reload at a time. A later reload overtakes one that waits for a compilation."""

    def __init__(self, gateway: Gateway, read: Read, on_reload: OnReload = lambda _site, _error: None) -> None:
        self._gateway = gateway
        self._read = read
        self._on_reload = on_reload
        self._started = gateway.site.config
        self._running: asyncio.Task[ReloadResult | None] | None = None
        self._latest: asyncio.Task[ReloadResult | None] | None = None
        self._next: asyncio.Task[ReloadResult | None] | None = None
        self._cancelled = threading.Event()
        """Cancels the load under way."""

    async def reload(self) -> ReloadResult:
        """Serves the current configuration. Raises StartupError; nothing has changed then.

        Calls during a reload share the one that follows it. If a later reload overtakes this one, returns or raises the
        outcome of the later one.
        """
        if self._next is None:
            self.cancel()
            self._next = self._latest = asyncio.create_task(self._after(self._running))
        task: asyncio.Task[ReloadResult | None] | None = self._next
        while task:
            if result := await asyncio.shield(task):
                return result
            task = None if task is self._latest else self._latest
        raise StartupError(Problem("", "the server is stopping"))

    def cancel(self) -> None:
        """Ends a compilation under way, and with it the load of its site."""
        self._cancelled.set()

    async def _after(self, running: asyncio.Task[ReloadResult | None] | None) -> ReloadResult | None:
        """The result of a reload; None if it was cancelled."""
        if running:
            await asyncio.wait([running])
        self._running, self._next = self._next, None
        started = time.monotonic()
        try:
            site = await self.take(self._read)
        except LoadCancelled as cancelled:
            reason = "a later one overtakes it" if self._next else "the server is stopping"
            logger.info("reload: %s: %s", reason, cancelled)
            return None
        except StartupError as error:
            explain(error)
            self._on_reload(None, error)
            raise
        result = report(self._started, site, started)
        self._on_reload(site.served(), None)
        return result

    async def take(self, read: Read) -> Site:
        """Serves the configuration that `read` returns, or raises StartupError or LoadCancelled and changes nothing."""
        self._cancelled = threading.Event()
        site = await _load_in_thread(read, self._gateway.site, self._cancelled)
        try:
            await self._gateway.swap(site)
        except BaseException:
            site.close()
            raise
        return site


async def _load_in_thread(read: Read, previous: Site, cancelled: threading.Event) -> Site:
    """The site of `load_anew`, called in a thread.

    A list passes the result, because the wrapped future of a thread is part of a reference cycle: a site in it would
    stay in memory until the garbage collector runs.
    """
    loaded: list[Site | StartupError | LoadCancelled] = []

    def load() -> None:
        try:
            loaded.append(load_anew(read, previous, cancelled)[1])
        except (StartupError, LoadCancelled) as error:
            loaded.append(error.with_traceback(None))

    await asyncio.wrap_future(in_thread(load))
    match loaded.pop():
        case (StartupError() | LoadCancelled()) as error:
            raise error
        case site:
            return site


def load_anew(read: Read, previous: Site, cancelled: threading.Event | None = None) -> tuple[ConfigFile, Site]:
    """The site that replaces `previous`, and its configuration.

    Raises StartupError for every failure, and LoadCancelled if `cancelled` is set while a module compiles.
    """
    try:
        file = read()
        return file, load(file, previous=previous, cancelled=cancelled)
    except (StartupError, LoadCancelled):
        raise
    except OSError as error:
        raise StartupError(Problem("", f"the configuration cannot be loaded: {error.strerror or error}")) from None
    except Exception as error:
        logger.exception("the configuration cannot be loaded")
        raise StartupError(Problem("", f"{type(error).__name__}: {error}")) from None


def explain(error: StartupError) -> None:
    """Logs why a reload failed, and drops what it had loaded."""
    for problem in error.problems:
        logger.error("reload: %s", problem)
    logger.error("not reloaded: what was served before still is")
    # Tracebacks keep the frames, and what they loaded; those of other exceptions are part of reference cycles.
    error.__context__ = error.with_traceback(None).__cause__ = None
    gc.collect()


def report(started: Config, site: Site, since: float) -> ReloadResult:
    """Logs a successful reload with its warnings.

    `started` is the configuration of the process's start, `since` the monotonic time when the reload began.
    """
    memory = check_memory(site.config, started.server.workers, memory_bound())
    warnings = (*site.warnings, *memory, *needs_restart(started, site.config))
    for warning in warnings:
        logger.warning("reload: %s", warning)
    result = ReloadResult(len(site.routes) + len(site.static), time.monotonic() - since, warnings)
    logger.info("reloaded: %s in %.0f ms", counted(result.routes, "route"), result.seconds * 1000)
    return result


def needs_restart(started: Config, now: Config) -> Iterator[Problem]:
    """Warnings of changed settings that have no effect before a restart."""
    for name, keys in FIXED_SETTINGS.items():
        old, new = getattr(started, name), getattr(now, name)
        for key in keys:
            if getattr(old, key) != getattr(new, key):
                what = f"{name}.{key} = {_as_written(new, key)}: has no effect before a restart"
                yield Problem("", f"{what}; it is {_as_written(old, key)}")


def _as_written(table: SettingsTable, key: str) -> str:
    return as_written(getattr(table, key), type(table).model_fields[key].annotation)


def in_thread(call: Callable[[], T]) -> Future[T]:
    """The future result of `call` in a daemon thread, which does not delay the end of the process."""
    future: Future[T] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - the future passes it on
            future.set_exception(error)
        else:
            future.set_result(result)

    try:
        threading.Thread(target=run, name="reload", daemon=True).start()
    except RuntimeError as error:
        future.set_exception(StartupError(Problem("", f"there is no thread to reload with: {error}")))
    return future
