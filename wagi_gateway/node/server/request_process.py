"""The process that answers the request of one `kubectl exec`, between the channels of its client."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.websockets import WebSocket

from .channels import CLOSE, STDERR, STDIN, STDOUT, receive
from .containers import Container
from .module_request import ModuleRequest, environment

MAX_BODY = 64 * 2**20
"""Bytes of standard input."""
_BLOCK = 32 * 1024


class InputTooLarge(Exception):
    """Standard input has more than MAX_BODY bytes."""


class CannotStart(Exception):
    """The system has no room for another process."""


async def answer(
    websocket: WebSocket,
    container: Container,
    request: ModuleRequest,
    ended: Callable[[], Coroutine[Any, Any, None]],
    *,
    has_body: bool,
) -> int:
    """Runs the request in a process of its own, under the limits of the Pod; returns its exit code.

    `ended` raises an exception of its own once the container has ended. Raises that, CannotStart, InputTooLarge,
    NotBinary, WebSocketDisconnect.
    """
    process = await _start(request.command(container, has_body=has_body), has_body=has_body)
    container.bound(process.pid)
    output = asyncio.create_task(_send_output(process, websocket))
    watches = [asyncio.create_task(_read(websocket, process.stdin)), asyncio.create_task(ended())]
    try:
        await asyncio.wait({output, *watches}, return_when=asyncio.FIRST_COMPLETED)
        for watch in watches:
            if watch.done():
                watch.result()  # which raises
        await output
        return await process.wait()
    finally:
        for task in (output, *watches):
            task.cancel()
        await asyncio.gather(output, *watches, return_exceptions=True)
        await _kill(process)


async def _start(command: list[str], *, has_body: bool) -> Process:
    """Starts the process of a request. Raises CannotStart."""
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE if has_body else DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            env=environment(),
            start_new_session=True,
        )
    except OSError as error:
        raise CannotStart(error.strerror or str(error)) from None


async def _send_output(process: Process, websocket: WebSocket) -> None:
    outputs = ((process.stdout, STDOUT), (process.stderr, STDERR))
    await asyncio.gather(*(_forward(stream, websocket, channel) for stream, channel in outputs))


async def _forward(stream: asyncio.StreamReader | None, websocket: WebSocket, channel: bytes) -> None:
    """Sends what a process writes to a channel."""
    while stream and (data := await stream.read(_BLOCK)):
        await websocket.send_bytes(channel + data)


async def _read(websocket: WebSocket, stdin: asyncio.StreamWriter | None) -> None:
    """Writes standard input, and reads on until the client disconnects.

    Raises WebSocketDisconnect, NotBinary, InputTooLarge.
    """
    size = 0
    while True:
        data = await receive(websocket)
        if stdin and data[:1] == STDIN:
            size += len(data) - 1
            if size > MAX_BODY:
                raise InputTooLarge(f"standard input has more than {MAX_BODY} bytes")
            with contextlib.suppress(ConnectionError):  # the process has ended, or reads no more
                stdin.write(data[1:])
                await stdin.drain()
        elif stdin and data[:2] == CLOSE + STDIN:
            stdin.close()
            stdin = None


async def _kill(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
