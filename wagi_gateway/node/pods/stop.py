"""The end of a gateway's process: the `preStop` hooks, SIGTERM, and SIGKILL at the end of the grace period."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..api import Object
from .lifecycle import Hook, read_hook, run_hook
from .ports import reachable
from .probes import ProbeFailed
from .process import PodProcess
from .runtime import RecordsEvents
from .state import Run

_LEAST_GRACE = 2.0
"""Seconds that a gateway has after its hooks have used up the grace period, as a kubelet gives."""
_STEP = 0.5
"""Seconds between two looks at the grace period, which another deletion may have shortened."""


async def stop_process(
    process: PodProcess,
    run: Run,
    pod: Object,
    events: RecordsEvents,
    *,
    grace: Callable[[], float],
    save: Callable[[], None],
    is_gone: asyncio.Event | None = None,
) -> int:
    """The exit code of a process that has `grace` seconds, read anew at each step; none once the Pod `is_gone`.

    `save` is called when `run` has changed: hooks that have run to their end, be it under an earlier process of the
    node, do not run again.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    is_gone = is_gone or asyncio.Event()
    exited = asyncio.create_task(process.wait())
    containers = () if run.is_stopping else pod["spec"]["containers"]
    hooks = [hook for one in containers if (hook := read_hook(one, "preStop"))]
    hooked = asyncio.create_task(_run_hooks(hooks, run, pod, events))
    try:
        while not exited.done() and not hooked.done() and loop.time() < began + grace():
            await _pause(began + grace(), exited, hooked, is_gone=is_gone)
        run.is_stopping = True
        save()
        process.terminate()
        least = loop.time() + _LEAST_GRACE if hooks else 0.0
        while not exited.done() and loop.time() < (until := max(began + grace(), least * bool(grace()))):
            await _pause(until, exited, is_gone=is_gone)
        process.kill()
        return await exited
    finally:
        for task in (exited, hooked):
            task.cancel()
        await asyncio.gather(exited, hooked, return_exceptions=True)


async def _run_hooks(hooks: list[Hook], run: Run, pod: Object, events: RecordsEvents) -> None:
    await asyncio.gather(*(_run_hook(hook, run, pod, events) for hook in hooks))


async def _run_hook(hook: Hook, run: Run, pod: Object, events: RecordsEvents) -> None:
    """Runs a hook; a failure is an Event, and delays the end no further."""
    try:
        await run_hook(hook, reachable(run.host, run.port), run.port)
    except ProbeFailed as error:
        events.record(pod, "FailedPreStopHook", f"PreStopHook failed: {hook.container}: {error}", "Warning")


async def _pause(until: float, *tasks: asyncio.Task[None] | asyncio.Task[int], is_gone: asyncio.Event) -> None:
    """Waits for one of the tasks, for `until`, for the Pod's removal from the API, or a short while."""
    gone = asyncio.create_task(is_gone.wait())
    timeout = max(0.0, min(_STEP, until - asyncio.get_running_loop().time()))
    await asyncio.wait([*tasks, gone], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()
