"""What the API of a kubelet has and a node of modules cannot do, answered in words that kubectl shows."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocket


async def unsupported(request: Request) -> Response:
    """Answers what a node of modules cannot do."""
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
