"""The channels of `v5.channel.k8s.io`, in which `kubectl exec` sends and receives.

Frames are binary, and begin with the channel: 0 standard input, 1 standard output, 2 standard error, 3 the Status at
the end; 255 and a channel closes the channel.
"""

from __future__ import annotations

import contextlib
import json

from starlette.websockets import WebSocket, WebSocketDisconnect

from ..api import Object

PROTOCOL = "v5.channel.k8s.io"
STDIN, STDOUT, STDERR, STATUS, CLOSE = (bytes([number]) for number in (0, 1, 2, 3, 255))
_USAGE_ERROR = 2
"""The exit code of a command that is no request."""


class NotBinary(Exception):
    """A client has sent a frame of text."""


async def receive(websocket: WebSocket) -> bytes:
    """The next binary frame. Raises WebSocketDisconnect, NotBinary."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"], message.get("reason"))
    if (data := message.get("bytes")) is None:
        raise NotBinary
    return bytes(data)


async def fail(websocket: WebSocket, what: str) -> None:
    """Ends a command that is not, or not completely, answered, with the reason on standard error."""
    with contextlib.suppress(WebSocketDisconnect):
        await websocket.send_bytes(STDERR + f"error: {what}\n".encode())
        await end(websocket, _USAGE_ERROR)


async def end(websocket: WebSocket, code: int) -> None:
    """Sends the Status of a command, and closes the connection."""
    with contextlib.suppress(WebSocketDisconnect):
        await websocket.send_bytes(STATUS + json.dumps(status(code)).encode())
        await websocket.close()


def status(code: int) -> Object:
    """The Status of an exit code, which is negative for a signal."""
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
