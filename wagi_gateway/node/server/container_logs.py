"""`GET /containerLogs/{namespace}/{pod}/{container}`: what `kubectl logs` shows, in the words of a kubelet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ...observe.log import logger
from .containers import Container, Containers, UnknownContainer, UnknownPod
from .log_file import Line, LogReader
from .log_options import InvalidLogOptions, LogOptions

MAX_STREAMS = 100
"""Logs that are sent at a time."""
_POLL = 0.2
"""Seconds between two reads at the end of a log that is followed."""
_READERS = ThreadPoolExecutor(2, "logs")
"""Threads of their own for `tailLines`: the end of a large log may be far from its last line."""
_PULL_FAILURES = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


class NoLog(ValueError):
    """A container has no log yet, or none of an earlier run."""


class ContainerLogs:
    """The endpoint, with the number of logs under way."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._streams = 0

    async def __call__(self, request: Request) -> Response:
        """Answers with the log as text, or with the reason why there is none."""
        namespace, pod, name = (request.path_params[key] for key in ("namespace", "pod", "container"))
        try:
            options = LogOptions.of(request.query_params, datetime.now(UTC))
            path = log_of(self._containers.container(namespace, pod, name), pod, name, is_previous=options.previous)
        except (InvalidLogOptions, NoLog) as error:
            return PlainTextResponse(str(error), 400)
        except (UnknownPod, UnknownContainer) as error:
            return PlainTextResponse(str(error), 404)
        if self._streams >= MAX_STREAMS:
            what = f"the node sends {MAX_STREAMS} logs already, which is as many as it may; end one of them"
            return PlainTextResponse(what, 503)
        self._streams += 1  # before a client could wait for an answer
        try:
            reader = await _opened(path, options.tail)
        except BaseException:
            self._streams -= 1
            raise

        def end() -> None:
            reader.close()
            self._streams -= 1

        is_running = partial(self._is_running, namespace, pod, name, path)
        return _Log(log_text(reader, options, is_running), end)

    def _is_running(self, namespace: str, pod: str, name: str, log: Path) -> bool:
        """Whether the run that writes a log goes on."""
        try:
            container = self._containers.container(namespace, pod, name)
        except (UnknownPod, UnknownContainer):
            return False
        return container.log == log and container.is_running and container.waiting is None


class _Log(StreamingResponse):
    """The text of a log; `end` is called once, whether it was sent or not."""

    def __init__(self, text: AsyncGenerator[bytes, None], end: Callable[[], None]) -> None:
        super().__init__(text, media_type="text/plain")
        self._text = text
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the text."""
        try:
            async with aclosing(self._text):
                await super().__call__(scope, receive, send)
        finally:
            self._end()


async def _opened(path: Path, tail: int | None) -> LogReader:
    """A log from its beginning or the last `tail` lines, which a thread looks for. Raises OSError."""
    opening = asyncio.get_running_loop().run_in_executor(_READERS, LogReader, path, tail)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise


def _close(opening: asyncio.Future[LogReader]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def log_of(container: Container, pod: str, name: str, *, is_previous: bool) -> Path:
    """The log of the run that is asked for, chosen as by a kubelet (validateContainerLogStatus). Raises NoLog."""
    if is_previous:
        if container.previous_log is None:
            raise NoLog(f'previous terminated container "{name}" in pod "{pod}" not found')
        return container.previous_log
    if container.waiting is None:
        return container.log
    if container.previous_log is None:
        reason = _PULL_FAILURES.get(container.waiting, container.waiting)
        raise NoLog(f'container "{name}" in pod "{pod}" is waiting to start: {reason}')
    return container.previous_log


async def log_text(
    reader: LogReader, options: LogOptions, is_running: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """The text of a log, a block at a time: to its end, or with `follow` until the run has ended."""
    text = _Text(options)
    while True:
        goes_on = options.follow and is_running()  # before the read: what is written until then is shown
        try:
            for block in reader.blocks():
                if data := text.of(block):
                    yield data
                if text.is_over:
                    return
                await asyncio.sleep(0)
        except OSError as error:
            logger.warning("%s cannot be read further: %s", reader.path, error.strerror)
            yield f"the node cannot read the log further: {error.strerror}\n".encode()
            return
        if not goes_on:
            return
        await asyncio.sleep(_POLL)


class _Text:
    """Puts the parts of lines together, adds times, and cuts the text off at `limitBytes`."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit
        self._is_at_start = True

    @property
    def is_over(self) -> bool:
        """Whether no more bytes may be shown."""
        return self._left == 0

    def of(self, block: list[Line]) -> bytes:
        """The text of the next lines."""
        text = b"".join([self._line(line) for line in block if line.time >= self._options.since])
        if self._left is not None:
            text = text[: self._left]
            self._left -= len(text)
        return text

    def _line(self, line: Line) -> bytes:
        time = line.time + b" " if self._options.timestamps and self._is_at_start else b""
        self._is_at_start = line.is_last
        return time + line.text + (b"\n" if line.is_last else b"")
