"""A configuration that is read anew: a new site is loaded beside the old one, and takes its place if it is right."""

from __future__ import annotations

import asyncio
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
from ..errors import Problem, StartupError
from ..memory import check_memory, memory_bound
from ..observe.process_registry import ServedSite
from ..site.load import load
from ..site.site import Site
from .gateway import Gateway

logger = logging.getLogger("wagi_gateway")

T = TypeVar("T")

Read = Callable[[], ConfigFile]
"""Reads the configuration as it is now."""
OnReload = Callable[[ServedSite | None, StartupError | None], None]
"""Called after a reload with the site that is served from now on, or with the error that prevented it."""

FIXED = {"server": ("listen", "socket_mode", "workers", "send_timeout"), "admin": ("listen",), "tracing": ("export",)}
"""The settings of each table that only a start reads."""


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What a reload has brought."""

    routes: int
    seconds: float
    warnings: tuple[Problem, ...] = ()


class Reloader:
    """Reloads a gateway, once at a time."""

    def __init__(self, gateway: Gateway, read: Read, on_reload: OnReload = lambda _site, _error: None) -> None:
        self._gateway = gateway
        self._read = read
        self._on_reload = on_reload
        self._started = gateway.site.config
        self._running: asyncio.Task[ReloadResult] | None = None
        self._next: asyncio.Task[ReloadResult] | None = None

    async def reload(self) -> ReloadResult:
        """What is there now is served. Raises StartupError, and then nothing has changed.

        Whoever asks while a reload is under way gets the next one, all of them the same.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
        return await asyncio.shield(self._next)

    async def _after(self, running: asyncio.Task[ReloadResult] | None) -> ReloadResult:
        if running:
            await asyncio.wait([running])
        self._running, self._next = self._next, None
        started = time.monotonic()
        try:
            site = await self.take(self._read)
        except StartupError as error:
            explain(error)
            self._on_reload(None, error)
            raise
        result = report(self._started, site, started)
        self._on_reload(site.served(), None)
        return result

    async def take(self, read: Read) -> Site:
        """Serves what this reads. Raises StartupError, and then nothing has changed."""
        site = await _load_aside(read, self._gateway.site)
        try:
            await self._gateway.swap(site)
        except BaseException:
            site.close()
            raise
        return site


async def _load_aside(read: Read, before: Site) -> Site:
    """What `load_anew` returns, while the loop goes on.

    The future of a thread is in a cycle with what waits for it, so that its result is handed over past it: a site is to
    be freed with its last request, and not by the garbage collector, which seldom comes.
    """
    loaded: list[Site | StartupError] = []

    def load() -> None:
        try:
            loaded.append(load_anew(read, before)[1])
        except StartupError as error:
            loaded.append(error.with_traceback(None))

    await asyncio.wrap_future(in_thread(load))
    match loaded.pop():
        case StartupError() as error:
            raise error
        case site:
            return site


def load_anew(read: Read, before: Site) -> tuple[ConfigFile, Site]:
    """What is to take the place of `before`. Raises StartupError, whatever went wrong."""
    try:
        file = read()
        return file, load(file, before=before)
    except StartupError:
        raise
    except OSError as error:
        raise StartupError(Problem("", f"the configuration cannot be loaded: {error.strerror or error}")) from None
    except Exception as error:
        logger.exception("the configuration cannot be loaded")
        raise StartupError(Problem("", f"{type(error).__name__}: {error}")) from None


def explain(error: StartupError) -> None:
    """Logs why nothing has changed, and lets go of what was loaded before the mistake was found."""
    for problem in error.problems:
        logger.error("reload: %s", problem)
    logger.error("not reloaded: what was served before still is")
    # Or tracebacks would keep it until garbage is collected, which is seldom.
    error.__context__ = error.with_traceback(None).__cause__ = None


def report(started: Config, site: Site, since: float) -> ReloadResult:
    """Logs that a site is served now; `started` is the configuration the process began with, `since` the time on the
    monotonic clock when the reload began."""
    memory = check_memory(site.config, started.server.workers, memory_bound())
    warnings = (*site.warnings, *memory, *needs_restart(started, site.config))
    for warning in warnings:
        logger.warning("reload: %s", warning)
    result = ReloadResult(len(site.routes), time.monotonic() - since, warnings)
    logger.info("reloaded: %d routes in %.0f ms", result.routes, result.seconds * 1000)
    return result


def needs_restart(started: Config, now: Config) -> Iterator[Problem]:
    """What has changed and has no effect until the next start."""
    for name, keys in FIXED.items():
        old, new = getattr(started, name), getattr(now, name)
        for key in keys:
            if getattr(old, key) != getattr(new, key):
                what = f"{name}.{key} = {_written(new, key)}: has no effect before a restart"
                yield Problem("", f"{what}; it is {_written(old, key)}")


def _written(table: SettingsTable, key: str) -> str:
    return as_written(getattr(table, key), type(table).model_fields[key].annotation)


def in_thread(call: Callable[[], T]) -> Future[T]:
    """The result of a call in a thread that does not keep the process from ending."""
    future: Future[T] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            future.set_exception(error)
        else:
            future.set_result(result)

    try:
        threading.Thread(target=run, name="reload", daemon=True).start()
    except RuntimeError as error:
        future.set_exception(StartupError(Problem("", f"there is no thread to reload with: {error}")))
    return future
