"""`/exec/{namespace}/{pod}/{container}` as a WebSocket: one request to a module, without a network.

Frames of `v5.channel.k8s.io` are binary, and begin with the channel: 0 standard input, 1 standard output, 2 standard
error, 3 the Status at the end; 255 and a channel closes the channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..api import Object
from .containers import Container, Containers, UnknownContainer, UnknownPod
from .module_request import ModuleRequest, NotARequest, environment

PROTOCOL = "v5.channel.k8s.io"
MAX_COMMANDS = 4
"""Requests that are answered at a time: each one is a process."""
MAX_POD_COMMANDS = 2
"""Those of one Pod, so that no Pod keeps the others from an answer."""
MAX_BODY = 64 * 2**20
"""Bytes of standard input."""
MAX_TIME = 600.0
"""Seconds of a request, with the time that its client takes for the body."""
_STDIN, _STDOUT, _STDERR, _STATUS, _CLOSE = (bytes([number]) for number in (0, 1, 2, 3, 255))
_BLOCK = 32 * 1024
_POLL = 1.0
"""Seconds between two checks that the container still runs."""
_USAGE_ERROR = 2
"""The exit code of a command that is no request."""


class InputTooLarge(Exception):
    """Standard input has more than MAX_BODY bytes."""


class NotBinary(Exception):
    """A client has sent a frame of text."""


class CannotStart(Exception):
    """The system has no room for another process."""


class ContainerEnded(Exception):
    """The container of a command does not run any more."""


class Exec:
    """The endpoint, with the number of requests under way."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._commands: Counter[tuple[str, str]] = Counter()

    async def __call__(self, websocket: WebSocket) -> None:
        """Answers a request, and sends how it went."""
        namespace, pod, name = (websocket.path_params[key] for key in ("namespace", "pod", "container"))
        query = websocket.query_params
        if refusal := self._refusal(websocket, (namespace, pod)):
            await websocket.send_denial_response(refusal)
            return
        try:
            container = self._containers.container(namespace, pod, name)
        except (UnknownPod, UnknownContainer) as error:
            await websocket.send_denial_response(PlainTextResponse(str(error), 404))
            return
        if container.waiting is not None or not container.is_running:
            what = f'container "{name}" in pod "{pod}" is not running'
            await websocket.send_denial_response(PlainTextResponse(what, 400))
            return
        await websocket.accept(subprotocol=PROTOCOL)
        self._commands[namespace, pod] += 1
        try:
            if query.get("tty") in ("1", "true"):
                raise NotARequest("there is no terminal: leave -t out")
            request = ModuleRequest.parse(query.getlist("command"))
            has_body = query.get("input") in ("1", "true")
            ended = partial(self._until_ended, namespace, pod, name, container.pid)
            async with asyncio.timeout(MAX_TIME):
                code = await _answer(websocket, container, request, ended, has_body=has_body)
            await _end(websocket, code)
        except NotARequest as error:
            await _fail(websocket, str(error))
        except NotBinary:
            await _fail(websocket, f"frames must be binary ({PROTOCOL})")
        except CannotStart as error:
            await _fail(websocket, f"the node cannot start a process for the request: {error}")
        except InputTooLarge:
            await _fail(websocket, f"standard input has more than {MAX_BODY} bytes")
        except ContainerEnded:
            await _fail(websocket, f'container "{name}" in pod "{pod}" has ended')
        except TimeoutError:
            await _fail(websocket, f"the request took more than {MAX_TIME:g} s")
        except WebSocketDisconnect:
            pass
        finally:
            self._commands[namespace, pod] -= 1
            self._commands += Counter()  # without the Pods that have none

    async def _until_ended(self, namespace: str, pod: str, name: str, pid: int | None) -> None:
        """Raises ContainerEnded once the gateway of a container is another one, or none."""
        while True:
            await asyncio.sleep(_POLL)
            try:
                container = self._containers.container(namespace, pod, name)
            except (UnknownPod, UnknownContainer):
                raise ContainerEnded from None
            if not container.is_running or container.pid != pid:
                raise ContainerEnded

    def _refusal(self, websocket: WebSocket, pod: tuple[str, str]) -> Response | None:
        if PROTOCOL not in websocket.scope["subprotocols"]:
            return PlainTextResponse(f"the WebSocket subprotocol {PROTOCOL} is needed (Kubernetes 1.30 or later)", 400)
        if self._commands.total() >= MAX_COMMANDS:
            return PlainTextResponse(f"the node answers {MAX_COMMANDS} commands already; try again later", 503)
        if self._commands[pod] >= MAX_POD_COMMANDS:
            what = f'the node answers {MAX_POD_COMMANDS} commands of pod "{pod[1]}" already; try again later'
            return PlainTextResponse(what, 503)
        return None


async def unsupported(request: Request) -> Response:
    """Answers what a node of modules cannot do, in words that kubectl shows."""
    return _unsupported(request.url.path)


async def unsupported_websocket(websocket: WebSocket) -> None:
    """The same for a WebSocket."""
    await websocket.send_denial_response(_unsupported(websocket.url.path))


def _unsupported(path: str) -> Response:
    if path.startswith("/exec/"):
        what = (
            "exec needs WebSockets to the node, which API servers from Kubernetes 1.36 on use where the node declares "
            "the feature ExtendWebSocketsToKubelet; SPDY is not supported"
        )
    elif path.startswith("/portForward/"):
        what = "port-forward is not supported: a module has no ports; send requests to the Pod's address"
    else:
        what = "attach is not supported: a module runs for the time of a request; see kubectl logs -f, kubectl exec"
    return PlainTextResponse(f"{what}\n", 501)


async def _answer(
    websocket: WebSocket,
    container: Container,
    request: ModuleRequest,
    ended: Callable[[], Coroutine[Any, Any, None]],
    *,
    has_body: bool,
) -> int:
    """Runs the request in a process of its own, under the limits of the Pod; returns its exit code.

    `ended` raises ContainerEnded. Raises CannotStart, InputTooLarge, NotBinary, WebSocketDisconnect, ContainerEnded.
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
    outputs = ((process.stdout, _STDOUT), (process.stderr, _STDERR))
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
        data = await _receive(websocket)
        if stdin and data[:1] == _STDIN:
            size += len(data) - 1
            if size > MAX_BODY:
                raise InputTooLarge
            with contextlib.suppress(ConnectionError):  # the process has ended, or reads no more
                stdin.write(data[1:])
                await stdin.drain()
        elif stdin and data[:2] == _CLOSE + _STDIN:
            stdin.close()
            stdin = None


async def _receive(websocket: WebSocket) -> bytes:
    """The next binary frame. Raises WebSocketDisconnect, NotBinary."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"], message.get("reason"))
    if (data := message.get("bytes")) is None:
        raise NotBinary
    return bytes(data)


async def _kill(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _fail(websocket: WebSocket, what: str) -> None:
    """Ends a command that is not, or not completely, answered, with the reason on standard error."""
    with contextlib.suppress(WebSocketDisconnect):
        await websocket.send_bytes(_STDERR + f"error: {what}\n".encode())
        await _end(websocket, _USAGE_ERROR)


async def _end(websocket: WebSocket, code: int) -> None:
    """Sends the Status of a command, and closes the connection."""
    with contextlib.suppress(WebSocketDisconnect):
        await websocket.send_bytes(_STATUS + json.dumps(_status(code)).encode())
        await websocket.close()


def _status(code: int) -> Object:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    exit_code = str(code if code > 0 else 128 - code)  # as a shell shows a signal
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {exit_code}",
        "details": {"causes": [{"reason": "ExitCode", "message": exit_code}]},
    }
