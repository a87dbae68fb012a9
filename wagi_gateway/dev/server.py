"""The development server: builds, serves on loopback, watches, and runs the inspector, all in one process."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from ..app import application
from ..compiler.compilation import end_early
from ..config.file import ConfigFile
from ..errors import StartupError
from ..gateway.reload import ReloadResult
from ..memory import bound_arenas
from ..observe import log
from ..server.listener import url
from ..server.uvicorn_config import worker_config
from ..server.worker import Worker, raise_descriptor_limit
from ..site.site import Site
from .builds import BuildResult, Builds
from .console import Console, keys
from .detail import summary
from .error_page import ErrorPages
from .export import ServedConfiguration
from .free_port import listening_from
from .history import History
from .inspector import Inspector
from .inspector_server import InspectorServer
from .live import LiveReload
from .loopback import refusals
from .modules import Modules
from .rebuild import Rebuilder
from .recorder import RecordingGateway
from .recording import Recording


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopmentOptions:
    """The options of the command `dev`."""

    read: Callable[[], ConfigFile]
    load: Callable[[ConfigFile], Site]
    config: ServedConfiguration
    """The configuration, whose files are watched."""
    listen: str | None = None
    """None for `server.listen`, or the next free port."""
    inspector: str | None = None
    is_stale_served: bool = False
    is_live: bool = False
    """Whether the guests' pages load themselves anew after a change."""


def develop(options: DevelopmentOptions) -> None:
    """Builds and serves until q, Ctrl-C or the end of the terminal. Raises StartupError."""
    file = development_file(options.read(), options.listen)
    inspector = options.inspector or "127.0.0.1:3001"
    if problems := list(refusals(file.config.server, inspector, os.environ)):
        raise StartupError(*problems)
    _configure_log(file)
    bound_arenas()
    console = Console.of(sys.stderr, file.base.absolute())
    with ExitStack() as stack:
        listener = stack.enter_context(listening_from(file.config.server.listen, is_fixed=options.listen is not None))
        inspector_listener = stack.enter_context(listening_from(inspector, is_fixed=options.inspector is not None))
        raise_descriptor_limit()
        server = DevelopmentServer(options, console, listener, inspector_listener)
        server.run()


def development_file(file: ConfigFile, listen: str | None = None) -> ConfigFile:
    """The configuration as `dev` serves it: on one port without TLS, without admin listener, spans and access log."""
    config = file.config
    server = config.server.model_copy(
        update={"tls_cert": None, "tls_key": None} | ({"listen": listen} if listen else {})
    )
    update = {
        "server": server,
        "admin": config.admin.model_copy(update={"listen": None}),
        "tracing": config.tracing.model_copy(update={"export": False}),
        "log": config.log.model_copy(update={"access": False, "format": "text", "directory": None}),
    }
    return replace(file, config=config.model_copy(update=update))


class DevelopmentServer:
    """The parts of a development server, and their start and end."""

    def __init__(
        self,
        options: DevelopmentOptions,
        console: Console,
        listener: socket.socket,
        inspector_listener: socket.socket,
    ) -> None:
        self._options = options
        self._console = console
        self._listener = listener
        self._inspector_listener = inspector_listener
        self._builds = Builds(console.output, self._on_build)
        self._history = History()
        self._live = LiveReload()
        self._token = secrets.token_urlsafe(24)
        self._tasks: set[asyncio.Task[object]] = set()
        self._worker: Worker
        self._inspector_server: InspectorServer

    @property
    def inspector_url(self) -> str:
        """The URL of the inspector with its token, for the terminal alone."""
        return f"{url(self._inspector_listener)}/#token={self._token}"

    def run(self) -> None:
        """Builds, and serves until a signal."""
        file = self._read()
        if number := asyncio.run(self._builds.run_first(file)):
            raise SystemExit(128 + number)  # as a shell does
        site = self._load_first(file)
        self._builds.count = 1
        base = file.base.absolute()
        pages = ErrorPages(
            base, url(self._inspector_listener), self._builds, self._live, is_stale_served=self._options.is_stale_served
        )
        gateway = RecordingGateway(
            site, self._history, pages, self._builds, self._on_recording, self._live, is_live=self._options.is_live
        )
        app = application(gateway, self._read)

        async def reload() -> ReloadResult:
            return await app.reload()

        self._rebuilder = Rebuilder(
            self._read,
            self._builds,
            reload,
            files=self._options.config.files,
            notify=self._on_event,
            on_change=self._live.change,
        )
        self._inspector = Inspector(
            gateway,
            Modules(base, self._builds),
            config=self._options.config,
            address=self._listener.getsockname()[:2],
            origin=url(self._listener),
            rebuild=self._rebuilder.build_all,
        )
        self._worker = Worker(
            worker_config(file.config.server), lambda: app, on_ready=self._on_ready, on_stop=self._on_stop
        )
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, self._stop)
        try:
            self._worker.run([self._listener])
        finally:
            end_early()

    def _read(self) -> ConfigFile:
        return development_file(self._options.read(), self._options.listen)

    def _load_first(self, file: ConfigFile) -> Site:
        """The first site; an empty one, and the problems on a page, for a configuration that cannot be served yet."""
        try:
            site = self._options.load(file)
        except StartupError as error:
            if not file.config.module:
                raise
            self._builds.problems = error.problems
            for problem in error.problems:
                self._console.line(f"error: {log.escape(str(problem))}", "red")
            empty = file.config.model_copy(update={"module": (), "static": ()})
            return self._options.load(replace(file, config=empty, problems=()))
        for warning in site.warnings:
            self._console.line(f"warning: {log.escape(str(warning))}", "yellow")
        return site

    def _stop(self, *_: object) -> None:
        self._worker.should_exit = True

    def _on_ready(self, address: str) -> None:
        loop = asyncio.get_running_loop()
        port = self._inspector_listener.getsockname()[1]
        self._inspector_server = InspectorServer(self._inspector, port, self._token)
        for coroutine in (
            self._inspector_server.serve([self._inspector_listener]),
            self._rebuilder.watch(),
            self._keys(address),
        ):
            task = loop.create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(_report)

    async def _keys(self, address: str) -> None:
        loop = asyncio.get_running_loop()

        def open_page(target: str) -> None:
            loop.run_in_executor(None, webbrowser.open, target)

        def rebuild() -> None:
            self._tasks.add(loop.create_task(self._rebuilder.build_all()))

        def clear() -> None:
            self._console.clear()
            self._history.clear()

        actions: dict[str, Callable[[], object]] = {
            "o": lambda: open_page(address),
            "i": lambda: open_page(f"{url(self._inspector_listener)}/#code={self._inspector_server.code()}"),
            "r": rebuild,
            "c": clear,
            "q": self._stop,
        }
        with keys(actions) as has_keys:
            self._console.banner(address, self.inspector_url, has_keys)
            await asyncio.Event().wait()

    def _on_stop(self) -> None:
        self._inspector.is_closing.set()
        self._live.is_closing.set()
        self._inspector_server.should_exit = True
        for task in self._tasks:
            task.cancel()

    def _on_build(self, result: BuildResult) -> None:
        self._console.build(result)
        self._history.publish(
            {
                "type": "build",
                "route": result.route,
                "code": result.code,
                "seconds": result.seconds,
                "began": result.began,
            }
        )

    def _on_event(self, text: str, seconds: float) -> None:
        self._console.event(text, seconds)
        self._history.publish({"type": "event", "text": text, "seconds": seconds})

    def _on_recording(self, recording: Recording) -> None:
        # A request that the history has dropped while it ran is no row any more.
        if self._history.subscribers and self._history.get(recording.number):
            self._history.publish({"type": "invocation", "invocation": summary(recording)})
        if recording.is_over:
            self._console.request(recording)


def _report(task: asyncio.Task[object]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logging.getLogger("wagi_gateway").error("a part of dev has ended", exc_info=error)


def _configure_log(file: ConfigFile) -> None:
    log.configure(file.config.log)
    # A failed request is shown with its output and frames by the console.
    log.logger.addFilter(lambda record: "id" not in getattr(record, "fields", {}))
