"""The runs of one Pod's gateway, from the first attempt to start it until the Pod has ended by itself."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time

from ...errors import GatewayError
from ...observe.log import logger
from ..api import ApiError, ApiUnreachable, Object
from ..unix_socket import listening_at
from .definition import definition_of
from .downward import UnknownField
from .folder import PodFolder
from .gateway_log import tail
from .ports import PortUnavailable, resolve
from .preparation import Preparation
from .process import STARTUP_FAILED, UNKNOWN_EXIT, PodProcess
from .pull_back_off import back_off_pull
from .references import ReferenceMissing
from .restarts import BackOff, Restarts
from .runtime import PodRuntime
from .serving import Serving
from .start_place import StartPlace
from .state import PodState, Run, Termination, Waiting, rfc3339
from .status_writer import StatusWriter
from .validation import ValidatedPod
from .volume_kinds import VolumeNotReady

_API_RETRY = 2.0


class _Ended(GatewayError):
    """The Pod is not to run again; `reason` is that of its status."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


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
        self.pod = pod
        self.process = process
        """The gateway, while it runs."""
        self._runtime = runtime
        self._folder = folder
        self._state = state
        self._status = status
        self._modified = asyncio.Event()
        self._place = StartPlace(runtime.starts)
        self._restarts = Restarts(pod["spec"].get("restartPolicy") or "Always", runtime.back_off, state.delay)
        self._preparation = Preparation(runtime, pod, folder, state, self.changed)
        if state.run and process:
            runtime.listeners.add(state.run.host, state.run.port, pod)

    def update(self, pod: Object) -> None:
        """Takes another version of the Pod."""
        self.pod = pod
        self._preparation.update(pod)
        self._modified.set()

    def changed(self) -> None:
        """Saves the state, and has it written to the API."""
        self.save()
        self._status.touch()

    def save(self) -> None:
        """Saves the state; a failure is logged."""
        try:
            self._state.save(self._folder.state)
        except OSError as error:
            logger.warning("the state of Pod %s cannot be written: %s", self.pod["metadata"]["name"], error.strerror)

    async def live(self) -> None:
        """Serves until the Pod has ended by itself."""
        self._state.start_time = self._state.start_time or rfc3339(self._runtime.clock())
        while True:
            try:
                if self._state.phase in ("Succeeded", "Failed"):
                    return
                if self.process is None:
                    await self._start()
                await self._serve()
            except _Ended as ended:
                self._state.phase, self._state.reason, self._state.message = "Failed", ended.reason, str(ended)
            except Exception:  # noqa: BLE001 - one Pod ends no other
                logger.exception("Pod %s: an unexpected error", self.pod["metadata"]["uid"])
                await asyncio.sleep(self._runtime.back_off)
            self.changed()

    async def _start(self) -> None:
        """Prepares and starts the gateway, however many attempts that takes."""
        back_off = BackOff(self._runtime.back_off, 30 * self._runtime.back_off)
        self._preparation.begin()
        state, refusals = self._state, 0
        state.last_termination, state.termination = state.termination or state.last_termination, None
        while self.process is None:
            try:
                await self._prepare_and_start(back_off)
            except (ApiError, ApiUnreachable) as error:
                refusals = refusals + 1 if isinstance(error, ApiError) and error.status == 403 else 0
                if refusals > 1:  # one may come from an API server that has just started
                    await self._wait("CreateContainerConfigError", str(error), "Failed", back_off)
                    continue
                logger.warning("Pod %s: %s; it is tried again", self.pod["metadata"]["name"], error)
                if isinstance(error, ApiError):  # such as a right that the node lacks
                    self._show_wait("ContainerCreating", str(error), "Failed")
                await asyncio.sleep(min(_API_RETRY, self._runtime.back_off))
            except (ReferenceMissing, UnknownField) as error:
                await self._wait("CreateContainerConfigError", str(error), "Failed", back_off)
            except VolumeNotReady as error:
                await self._wait("ContainerCreating", str(error), "FailedMount", back_off)
            except (PortUnavailable, OSError) as error:
                await self._wait("RunContainerError", str(error), "Failed", back_off)

    async def _prepare_and_start(self, back_off: BackOff) -> None:
        self._folder.make()
        self._folder.save_manifest(self.pod)
        if (definition := definition_of(self.pod)) != self._state.definition:
            self._state.definition = definition
            self._state.images.clear()
            self._state.waiting_images.clear()
            back_off.reset()
        valid = self._preparation.validate()
        if valid.problems:
            await self._refuse(valid)
            return
        await self._preparation.assign_address()
        if not await self._preparation.pull(valid.served):
            await self._status.flush()
            delay, events = back_off.fail(), self._runtime.events
            await back_off_pull(self.pod, self._state, events, delay=delay, changed=self.changed, pause=self._pause)
            return
        back_off.reset()
        await self._preparation.write_volumes()
        await self._preparation.configure()
        await self._spawn(valid.host, valid.port)

    async def _refuse(self, valid: ValidatedPod) -> None:
        """Shows why the Pod is invalid, and waits for another version of it."""
        self._state.waiting = Waiting("CreateContainerConfigError", valid.message)
        self._runtime.events.record(self.pod, "Failed", f"Error: {valid.message}", "Warning")
        if self._restarts.policy == "Never":
            raise _Ended("CreateContainerConfigError", valid.message)
        self.changed()
        await self._until_redefined()

    async def _wait(self, reason: str, message: str, event: str, back_off: BackOff) -> None:
        """Shows why no container runs, until the next attempt."""
        self._show_wait(reason, message, event)
        await self._pause(back_off.fail())

    def _show_wait(self, reason: str, message: str, event: str) -> None:
        self._state.waiting = Waiting(reason, message[:1000])
        text = message if event == "FailedMount" else f"Error: {message}"
        self._runtime.events.record(self.pod, event, text, "Warning")
        self.changed()

    async def _spawn(self, host: str, port: int) -> None:
        """Binds the port and starts the process, once there is a place. Raises PortUnavailable, OSError."""
        await self._place.take()
        try:
            host = await resolve(self._runtime.addresses.bound(host, self._state.address))
            with self._preparation.bind(host, port) as listener, listening_at(self._folder.admin_socket) as admin:
                command = ("serve", str(self._folder.configuration), "--listen", "fd:3", "--admin", "fd:4")
                self.process = await self._runtime.forks.start(command, self._folder.gateway_log, (listener, admin))
        except BaseException:
            self._place.leave()
            raise
        self._runtime.listeners.add(host, port, self.pod)
        now = rfc3339(self._runtime.clock())
        process, state = self.process, self._state
        state.run = Run(process.pid, process.start_time, secrets.token_hex(16), now, host, port)
        state.phase, state.waiting, state.latest = "Running", Waiting(), state.restarts
        self.changed()
        for container in self.pod["spec"]["containers"]:
            for verb in ("Created", "Started"):
                self._runtime.events.record(self.pod, verb, f"{verb} container {container['name']}")

    async def _serve(self) -> None:
        """Watches over the gateway until it ends, and waits until the next start. Raises _Ended."""
        run, process, started = self._state.run, self.process, time.monotonic()
        if run is None or process is None:
            return
        serving = Serving(self._runtime, self._preparation, process, run, self.changed)
        watch = asyncio.create_task(serving.watch())
        redefined = asyncio.create_task(self._until_redefined())
        place = asyncio.create_task(self._place.leave_after(serving.has_served))
        try:
            await asyncio.wait([watch, redefined], return_when=asyncio.FIRST_COMPLETED)
            if redefined.done() and not watch.done():
                what = "Container definition or WAGI annotations changed, will be restarted"
                self._runtime.events.record(self.pod, "Killing", what)
                await serving.end()
            code = await watch
        finally:
            for task in (watch, redefined, place):
                task.cancel()
            self._place.leave()
            await asyncio.gather(watch, redefined, place, return_exceptions=True)
        self._record_end(run, code)
        if serving.evicted:
            raise _Ended("Evicted", serving.evicted)
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
        if code == UNKNOWN_EXIT and self._runtime.groups.was_out_of_memory(self.pod["metadata"]["uid"]):
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
        name = self.pod["metadata"]["name"]
        text = f"back-off {delay:g}s restarting failed gateway of Pod {name}"
        self._state.waiting = Waiting("CrashLoopBackOff", text)
        self._state.last_termination, self._state.termination = self._state.termination, None
        self._runtime.events.record(self.pod, "BackOff", f"Back-off restarting failed gateway of Pod {name}", "Warning")
        self.changed()
        await self._pause(delay)

    async def _pause(self, seconds: float) -> None:
        """Waits, but for no longer than until the Pod has another definition, which may be the mended one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._until_redefined()

    async def _until_redefined(self) -> None:
        """Waits for another definition: each status that is written is a modification too."""
        while definition_of(self.pod) == self._state.definition:
            self._modified.clear()
            await self._modified.wait()
