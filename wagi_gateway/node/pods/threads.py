"""Work on files in a thread, beside the node's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(work: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
    """The result of `work`, whose end is awaited when the task is cancelled, too.

    It would otherwise write files of a Pod, such as a Secret, after the folder of the Pod was removed.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **options))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
