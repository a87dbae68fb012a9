"""The hooks of a container, `postStart` and `preStop`: a pause, or a request to its own gateway.

Source: https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks. `exec` has no process to run in.
"""

from __future__ import annotations

import asyncio
from typing import Literal, NamedTuple

from ..api import Object
from .probes import ProbeFailed, http_status

HookName = Literal["postStart", "preStop"]
_LONGEST = 300.0
"""Seconds of a request; `limits.time` of the module ends it before, unless the operator permits more."""


class Hook(NamedTuple):
    """One hook of a container."""

    container: str
    sleep: float = 0.0
    """Seconds."""
    path: str | None = None
    """The target of a request; without one there is none."""
    port: int | str = 0
    headers: tuple[tuple[str, str], ...] = ()
    scheme: str = "HTTP"


def read_hook(container: Object, name: HookName) -> Hook | None:
    """A hook of a container; None without one, or for one of a kind that the node has no means for."""
    spec = (container.get("lifecycle") or {}).get(name) or {}
    own = str(container["name"])
    if request := spec.get("httpGet"):
        named = {one.get("name"): one.get("containerPort") for one in container.get("ports") or ()}
        port = request.get("port", 0)
        headers = tuple((one["name"], one.get("value", "")) for one in request.get("httpHeaders") or ())
        return Hook(
            own,
            path=request.get("path") or "/",
            port=named.get(port, port),
            headers=headers,
            scheme=request.get("scheme") or "HTTP",
        )
    if (pause := spec.get("sleep")) is not None:
        return Hook(own, sleep=float(pause.get("seconds") or 0))
    return None


async def run_hook(hook: Hook, address: tuple[str, int], own_port: int) -> None:
    """Runs a hook; `own_port` is the only port that the Pod listens on. Any response is a success, as for a kubelet.

    Raises ProbeFailed.
    """
    await asyncio.sleep(hook.sleep)
    if hook.path is None:
        return
    if hook.scheme != "HTTP":
        raise ProbeFailed("the Pod speaks HTTP, not HTTPS; set scheme: HTTP")
    if str(hook.port) != str(own_port):
        raise ProbeFailed(f"the Pod listens on port {own_port}, not {str(hook.port)[:20]}")
    try:
        async with asyncio.timeout(_LONGEST):
            await http_status(address, hook.path, dict(hook.headers))
    except TimeoutError:
        raise ProbeFailed(f"no answer within {_LONGEST:g} s") from None
    except OSError as error:
        raise ProbeFailed(f"{address[0]}:{address[1]}: {error.strerror or error}") from None
