"""`/exec/{namespace}/{pod}/{container}` as a WebSocket: one request to a module, without a network."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from .channels import PROTOCOL, NotBinary, end, fail
from .containers import Container, Containers, UnknownContainer, UnknownPod
from .module_request import ModuleRequest, NotARequest
from .request_process import CannotStart, InputTooLarge, answer

MAX_COMMANDS = 4
"""Requests that are answered at a time: each one is a process."""
MAX_POD_COMMANDS = 2
"""Those of one Pod, so that no Pod keeps the others from an answer."""
MAX_TIME = 600.0
"""Seconds of a request, with the time that its client takes for the body."""
_POLL = 1.0
"""Seconds between two checks that the container still runs."""


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
        admitted = self._admit(websocket, namespace, pod, name)
        if isinstance(admitted, Response):
            await websocket.send_denial_response(admitted)
            return
        self._commands[namespace, pod] += 1  # before a client could wait for an answer
        try:
            await self._answer(websocket, admitted, (namespace, pod, name))
        finally:
            self._commands[namespace, pod] -= 1
            self._commands += Counter()  # without the Pods that have none

    def _admit(self, websocket: WebSocket, namespace: str, pod: str, name: str) -> Container | Response:
        """The container of a request, or why it is refused."""
        if PROTOCOL not in websocket.scope["subprotocols"]:
            return PlainTextResponse(f"the WebSocket subprotocol {PROTOCOL} is needed (Kubernetes 1.30 or later)", 400)
        if self._commands.total() >= MAX_COMMANDS:
            return PlainTextResponse(f"the node answers {MAX_COMMANDS} commands already; try again later", 503)
        if self._commands[namespace, pod] >= MAX_POD_COMMANDS:
            what = f'the node answers {MAX_POD_COMMANDS} commands of pod "{pod}" already; try again later'
            return PlainTextResponse(what, 503)
        try:
            container = self._containers.container(namespace, pod, name)
        except (UnknownPod, UnknownContainer) as error:
            return PlainTextResponse(str(error), 404)
        if container.waiting is not None or not container.is_running:
            return PlainTextResponse(f'container "{name}" in pod "{pod}" is not running', 400)
        return container

    async def _answer(self, websocket: WebSocket, container: Container, where: tuple[str, str, str]) -> None:
        """Accepts a request, and sends its answer or why there is none."""
        query = websocket.query_params
        _, pod, name = where
        try:
            await websocket.accept(subprotocol=PROTOCOL)
            if query.get("tty") in ("1", "true"):
                raise NotARequest("there is no terminal: leave -t out")
            request = ModuleRequest.parse(query.getlist("command"))
            has_body = query.get("input") in ("1", "true")
            ended = partial(self._until_ended, *where, container.pid)
            async with asyncio.timeout(MAX_TIME):
                code = await answer(websocket, container, request, ended, has_body=has_body)
            await end(websocket, code)
        except NotARequest as error:
            await fail(websocket, str(error))
        except NotBinary:
            await fail(websocket, f"frames must be binary ({PROTOCOL})")
        except CannotStart as error:
            await fail(websocket, f"the node cannot start a process for the request: {error}")
        except InputTooLarge as error:
            await fail(websocket, str(error))
        except ContainerEnded:
            await fail(websocket, f'container "{name}" in pod "{pod}" has ended')
        except TimeoutError:
            await fail(websocket, f"the request took more than {MAX_TIME:g} s")
        except WebSocketDisconnect:
            pass

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
