"""The runs of one Pod's gateway, from the first attempt to start it until the Pod has ended by itself."""

from __future__ import annotations

import asyncio
import secrets
import time

from ...observe.log import logger
from ..api import Object
from .folder import PodFolder
from .gateway_log import tail
from .gateway_start import GatewayStart, PodEnded, StartedGateway
from .latest_pod import LatestPod
from .preparation import Preparation
from .process import STARTUP_FAILED, UNKNOWN_EXIT, PodProcess
from .restarts import Restarts, restart_policy
from .runtime import PodRuntime
from .serving import Serving
from .state import PodState, Run, Termination, Waiting, rfc3339
from .status_writer import StatusWriter


class GatewayRuns:
    """Starts the gateway of one Pod, watches over it, and starts it anew under the restart policy."""

    def __init__(
        self,
        runtime: PodRuntime,
        pod: Object,
        folder: PodFolder,
        state: PodState,
        status: StatusWriter,
        process: PodProcess | None,
    ) -> None:
        self.process = process
        """The gateway, while it runs."""
        self._runtime = runtime
        self._folder = folder
        self._state = state
        self._status = status
        self._latest = LatestPod(pod)
        self._restarts = Restarts(restart_policy(pod), runtime.back_off, state.delay)
        self._preparation = Preparation(runtime, pod, folder, state, self.changed)
        self._start = GatewayStart(runtime, self._latest, folder, state, status, self._preparation, self.changed)
        if state.run and process:
            runtime.listeners.add(state.run.host, state.run.port, pod)

    def update(self, pod: Object) -> None:
        """Takes another version of the Pod."""
        self._preparation.update(pod)
        self._latest.update(pod)

    def changed(self) -> None:
        """Saves the state, and has it written to the API."""
        self.save()
        self._status.touch()

    def save(self) -> None:
        """Saves the state; a failure is logged."""
        try:
            self._state.save(self._folder.state)
        except OSError as error:
            logger.warning(
                "the state of Pod %s cannot be written: %s", self._latest.pod["metadata"]["name"], error.strerror
            )

    async def live(self) -> None:
        """Serves until the Pod has ended by itself."""
        self._state.start_time = self._state.start_time or rfc3339(self._runtime.clock())
        while True:
            try:
                if self._state.phase in ("Succeeded", "Failed"):
                    return
                if self.process is None:
                    self._begin(await self._start.run())
                await self._serve()
            except PodEnded as ended:
                self._state.phase, self._state.reason, self._state.message = "Failed", ended.reason, str(ended)
            except Exception:  # noqa: BLE001 - one Pod ends no other
                logger.exception("Pod %s: an unexpected error", self._latest.pod["metadata"]["uid"])
                await asyncio.sleep(self._runtime.back_off)
            self.changed()

    def _begin(self, started: StartedGateway) -> None:
        """Takes the process of another run."""
        self.process, state, pod = started.process, self._state, self._latest.pod
        self._runtime.listeners.add(started.host, started.port, pod)
        now = rfc3339(self._runtime.clock())
        pid, pid_start = started.process.pid, started.process.start_time
        state.run = Run(pid, pid_start, secrets.token_hex(16), now, started.host, started.port)
        state.phase, state.waiting, state.latest = "Running", Waiting(), state.restarts
        self.changed()
        for container in pod["spec"]["containers"]:
            for verb in ("Created", "Started"):
                self._runtime.events.record(pod, verb, f"{verb} container {container['name']}")

    async def _serve(self) -> None:
        """Watches over the gateway until it ends, and waits until the next start. Raises PodEnded."""
        run, process, started = self._state.run, self.process, time.monotonic()
        if run is None or process is None:
            return
        serving = Serving(self._runtime, self._preparation, process, run, self.changed)
        watch = asyncio.create_task(serving.watch())
        redefined = asyncio.create_task(self._latest.until_redefined(self._state.definition))
        place = asyncio.create_task(self._start.place.leave_after(serving.has_served))
        try:
            await asyncio.wait([watch, redefined], return_when=asyncio.FIRST_COMPLETED)
            if redefined.done() and not watch.done():
                what = "Container definition or WAGI annotations changed, will be restarted"
                self._runtime.events.record(self._latest.pod, "Killing", what)
                await serving.end()
            code = await watch
        finally:
            for task in (watch, redefined, place):
                task.cancel()
            self._start.place.leave()
            await asyncio.gather(watch, redefined, place, return_exceptions=True)
        self._record_end(run, code)
        if serving.evicted:
            raise PodEnded("Evicted", serving.evicted)
        if not redefined.done() or redefined.cancelled():
            if not self._restarts.is_wanted(code):
                self._state.phase = "Failed" if code else "Succeeded"
                return
            await self._back_off(time.monotonic() - started)
        self._state.restarts += 1

    def _record_end(self, run: Run, code: int) -> None:
        """Keeps how the run has ended, for the status."""
        is_known = self.process is None or self.process.is_child
        if self.process:
            self.process.close()
        self.process = None
        self._runtime.listeners.remove(run.host, run.port)
        reason = "ContainerStatusUnknown" if not is_known else "Error" if code else "Completed"
        if code == UNKNOWN_EXIT and self._runtime.groups.was_out_of_memory(self._latest.pod["metadata"]["uid"]):
            reason = "OOMKilled"
        message = "" if code == 0 else tail(self._folder.gateway_log)
        now = rfc3339(self._runtime.clock())
        self._state.termination = Termination(code, reason, message, run.started_at, now, run.id)
        self._state.run = None
        if code == STARTUP_FAILED:  # the store may have lost a module
            self._state.images.clear()
        self.changed()

    async def _back_off(self, ran: float) -> None:
        """Waits before a restart; a delay is shown as CrashLoopBackOff."""
        delay = self._restarts.next_delay(ran)
        self._state.delay = self._restarts.delay
        if not delay:
            return
        await self._status.flush()
        name = self._latest.pod["metadata"]["name"]
        text = f"back-off {delay:g}s restarting failed gateway of Pod {name}"
        self._state.waiting = Waiting("CrashLoopBackOff", text)
        self._state.last_termination, self._state.termination = self._state.termination, None
        self._runtime.events.record(
            self._latest.pod, "BackOff", f"Back-off restarting failed gateway of Pod {name}", "Warning"
        )
        self.changed()
        await self._latest.pause(delay, self._state.definition)
