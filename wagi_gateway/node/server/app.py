"""The application of the node's API."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from ...observe.log import logger
from ..api import Api
from .authentication import Authentication
from .authorization import Authorization
from .container_logs import ContainerLogs
from .containers import Containers
from .exec import Exec
from .guard import NodeGuard
from .metrics import NodeMetrics
from .unsupported import unsupported, unsupported_websocket

_ANY = ["GET", "POST"]


async def _no_room(request: Request, error: Exception) -> Response:
    """Answers where the system has no room, such as for another open file."""
    what = (error.strerror if isinstance(error, OSError) else None) or str(error)
    logger.warning("%s cannot be answered: %s", request.url.path, what)
    return PlainTextResponse(f"the node cannot answer now: {what}; try again later\n", 503)


def create_node_app(node: str, api: Api, containers: Containers) -> ASGIApp:
    """The API of the node of that name, behind its guard."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def pods(_: Request) -> Response:
        document = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": containers.pods()}
        return JSONResponse(document)

    metrics = NodeMetrics(node, containers)
    one = "{namespace}/{pod}/{container}"
    routes = [
        Route("/healthz", healthz),
        Route("/pods", pods),
        Route("/metrics", metrics.metrics),
        Route("/metrics/resource", metrics.resource),
        Route("/stats/summary", metrics.summary),
        Route(f"/containerLogs/{one}", ContainerLogs(containers).__call__),
        WebSocketRoute(f"/exec/{one}", Exec(containers).__call__),
        *(Route(f"/{name}/{{rest:path}}", unsupported, methods=_ANY) for name in ("exec", "attach", "portForward")),
        *(WebSocketRoute(f"/{name}/{{rest:path}}", unsupported_websocket) for name in ("attach", "portForward")),
    ]
    app = Starlette(routes=routes, exception_handlers={OSError: _no_room})
    app.router.redirect_slashes = False
    return NodeGuard(app, Authentication(api), Authorization(api, node))
