"""One run of a Pod's gateway: from its start until its process ends, with probes and the refresh of volumes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from ...observe.log import logger
from ..api import ApiError, ApiUnreachable, Object
from .gateway_configuration import grace_of
from .lifecycle import read_hook, run_hook
from .ports import reachable
from .preparation import Preparation
from .probes import Probe, ProbeFailed, ProbeName, ProbeResult, attempt, http_status, read_probe
from .process import PodProcess
from .resources import PodLimits, bound_data
from .runtime import PodRuntime
from .state import Run
from .stop import stop_process
from .volume_kinds import VolumeNotReady

_POLL = 0.2
"""Seconds between two attempts to reach a gateway that starts."""


class Serving:
    """Watches over a running gateway. `stop_reason` says why the node ended it, if it did."""

    def __init__(
        self,
        runtime: PodRuntime,
        preparation: Preparation,
        process: PodProcess,
        run: Run,
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called when `run` has changed."""
        self.evicted: str | None = None
        """Why the Pod is not to run again, if a volume grew beyond its limit."""
        self.has_served = asyncio.Event()
        self._runtime = runtime
        self._preparation = preparation
        self._process = process
        self._run = run
        self._address = reachable(run.host, run.port)
        self._changed = changed
        self._grace = grace_of(preparation.pod)
        self._is_ending = False

    async def watch(self) -> int:
        """The exit code of the process, once it ends."""
        tasks = [asyncio.create_task(_logged(one)) for one in (self._become_ready, self._refresh)]
        try:
            return await self._process.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def end(self, grace: float | None = None) -> None:
        """Ends the process, in `grace` seconds or the Pod's grace period at most. The first of several calls counts."""
        if self._is_ending:  # the hooks run once, although two containers fail their probes
            await self._process.wait()
            return
        self._is_ending = True
        seconds = self._grace if grace is None else grace
        events = self._runtime.events
        await stop_process(
            self._process, self._run, self._preparation.pod, events, grace=lambda: seconds, save=self._changed
        )

    async def _become_ready(self) -> None:
        """Waits until the gateway answers, then probes each container."""
        while not self._run.is_serving:
            try:
                # A built-in route: the answer comes once the modules are compiled, whatever its status.
                await http_status(self._address, "/healthz", {})
                self._run.is_serving = True
            except (OSError, ProbeFailed):
                await asyncio.sleep(_POLL)
        self.has_served.set()
        self._bound()
        async with asyncio.TaskGroup() as group:
            for container in self._preparation.pod["spec"]["containers"]:
                group.create_task(self._probe(container))

    def _bound(self) -> None:
        """Applies the limits of the Pod. Not before: a compilation needs more than guests do, and has its own bound."""
        pod, pid = self._preparation.pod, self._process.pid
        limits = PodLimits.of(pod)
        if not limits or self._runtime.groups.add(pod["metadata"]["uid"], pid, limits):
            return
        if limits.memory is not None and bound_data(pid, limits.memory):
            if limits.cpu is None:
                return
            what = "limits.cpu is not enforced"
        else:
            what = "the limits of the Pod as a whole are not enforced"
        self._preparation.warn("ResourceLimitsNotEnforced", f"{what}: this node has no control group of its own")

    async def _probe(self, container: Object) -> None:
        name = container["name"]
        startup, readiness, liveness = (
            read_probe(container, kind) for kind in ("startupProbe", "readinessProbe", "livenessProbe")
        )
        if not self._run.started.get(name):
            if not await self._post_start(container):
                return
            if startup and not await self._repeat(container, "startupProbe", startup):
                return
        self._run.started[name] = True
        if readiness is None:
            self._run.ready[name] = True
        self._changed()
        async with asyncio.TaskGroup() as group:
            if readiness:
                group.create_task(self._repeat(container, "readinessProbe", readiness))
            if liveness:
                group.create_task(self._repeat(container, "livenessProbe", liveness))

    async def _post_start(self, container: Object) -> bool:
        """Runs the hook `postStart`; False if it failed, which ends the process."""
        hook = read_hook(container, "postStart")
        try:
            if hook:
                await run_hook(hook, self._address, self._run.port)
        except ProbeFailed as error:
            what = f"PostStartHook failed: {container['name']}: {error}"
            self._runtime.events.record(self._preparation.pod, "FailedPostStartHook", what, "Warning")
            await self.end()
            return False
        return True

    async def _repeat(self, container: Object, kind: ProbeName, probe: Probe) -> bool:
        """Probes until a startup probe succeeds; the other kinds go on until the process ends.

        Returns whether the process goes on.
        """
        name = container["name"]
        await asyncio.sleep(probe.initial_delay)
        result = ProbeResult(probe.success_threshold, probe.failure_threshold)
        while True:
            try:
                await attempt(probe, self._address, self._run.port)
                changed = result.count(is_success=True)
            except ProbeFailed as error:
                label = kind.removesuffix("Probe").capitalize()
                self._runtime.events.record(
                    self._preparation.pod, "Unhealthy", f"{label} probe failed: {name}: {error}", "Warning"
                )
                changed = result.count(is_success=False)
            if kind == "startupProbe" and result.value:
                return True
            if kind == "readinessProbe" and changed:
                self._run.ready[name] = bool(result.value)
                self._changed()
            if kind != "readinessProbe" and result.value is False:
                what = f"Container {name} failed {kind.removesuffix('Probe')} probe, will be restarted"
                self._runtime.events.record(self._preparation.pod, "Killing", what)
                await self.end(probe.grace)
                return False
            await asyncio.sleep(probe.period)

    async def _refresh(self) -> None:
        """Writes the volumes anew from time to time, and measures those with a limit."""
        while True:
            # At different times for different Pods, which would all ask the API server at once otherwise.
            await asyncio.sleep(self._runtime.refresh * random.uniform(0.8, 1.2))  # noqa: S311
            await asyncio.to_thread(self._preparation.rotate_log)
            try:
                await self._preparation.write_volumes()
            except VolumeNotReady as error:
                self._runtime.events.record(self._preparation.pod, "FailedMount", str(error), "Warning")
            except (ApiError, ApiUnreachable) as error:
                logger.debug("volumes are not refreshed: %s", error)
            if message := await asyncio.to_thread(self._preparation.excess):
                self.evicted = message
                self._runtime.events.record(self._preparation.pod, "Evicted", message, "Warning")
                await self.end()
                return


async def _logged(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a task of a Pod; an unexpected error is logged, and does not end the Pod."""
    try:
        await work()
    except Exception:  # noqa: BLE001 - whatever it is, the Pod serves on
        logger.exception("a task of a Pod has failed")
