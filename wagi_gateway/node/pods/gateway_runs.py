"""The runs of one Pod's gateway, from the first attempt to start it until the Pod has ended by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
import time

from ...config.pod.workload import ANNOTATIONS
from ...errors import GatewayError
from ...observe.log import logger
from ..api import ApiError, ApiUnreachable, Object
from .downward import UnknownField
from .folder import PodFolder
from .gateway_configuration import grace_of
from .ports import PortUnavailable, bind
from .preparation import Preparation
from .process import STARTUP_FAILED, UNKNOWN_EXIT, PodProcess, tail
from .references import ReferenceMissing
from .restarts import BackOff, Restarts
from .runtime import PodRuntime
from .serving import Serving
from .state import PodState, Run, Termination, Waiting, rfc3339
from .status_writer import StatusWriter
from .validation import ValidatedPod
from .volumes import VolumeNotReady

_START_PLACE = 20.0
"""Seconds for which a gateway that starts has a place; a long compilation keeps no other Pod waiting."""
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
        self._has_place = False
        self._restarts = Restarts(pod["spec"].get("restartPolicy") or "Always", runtime.back_off, state.delay)
        self._preparation = Preparation(runtime, pod, folder, state, self.changed)

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
        refusals = 0
        while self.process is None:
            try:
                await self._prepare_and_start(back_off)
            except (ApiError, ApiUnreachable) as error:
                refusals = refusals + 1 if isinstance(error, ApiError) and error.status == 403 else 0
                if refusals > 1:  # one may come from an API server that has just started
                    await self._wait("CreateContainerConfigError", str(error), "Failed", back_off)
                    continue
                logger.warning("Pod %s: %s; it is tried again", self.pod["metadata"]["name"], error)
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
        valid = self._preparation.validate()
        if valid.problems:
            await self._refuse(valid)
            return
        if not await self._preparation.pull(valid.served):
            await self._back_off_pull(back_off)
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
        await self._until_redefined(_definition(self.pod))
        self._state.images.clear()

    async def _back_off_pull(self, back_off: BackOff) -> None:
        delay = back_off.fail()
        await self._status.flush()
        await asyncio.sleep(delay / 5)  # ErrImagePull is shown before ImagePullBackOff
        containers = {one["name"]: one["image"] for one in self.pod["spec"]["containers"]}
        for name, waiting in self._state.waiting_images.items():
            image = containers.get(name, "")
            text = f'Back-off pulling image "{image}"'
            self._runtime.events.record(self.pod, "BackOff", text)
            if waiting.reason == "ErrImagePull":
                self._state.waiting_images[name] = Waiting("ImagePullBackOff", f"{text}: {waiting.message}"[:1000])
        self.changed()
        await asyncio.sleep(delay)

    async def _wait(self, reason: str, message: str, event: str, back_off: BackOff) -> None:
        """Shows why no container runs, until the next attempt."""
        self._state.waiting = Waiting(reason, message[:1000])
        text = message if event == "FailedMount" else f"Error: {message}"
        self._runtime.events.record(self.pod, event, text, "Warning")
        self.changed()
        await asyncio.sleep(back_off.fail())

    async def _spawn(self, host: str, port: int) -> None:
        """Binds the port and starts the process, once there is a place. Raises PortUnavailable, OSError."""
        await self._runtime.starts.acquire()
        try:
            with self._bind(host, port) as listener:
                self.process = PodProcess.start(self._folder.configuration, listener, self._folder.gateway_log)
        except BaseException:
            self._runtime.starts.release()
            raise
        self._has_place = True
        metadata = self.pod["metadata"]
        self._runtime.listeners[port] = f"{metadata['namespace']}/{metadata['name']}"
        now = rfc3339(self._runtime.clock())
        process, state = self.process, self._state
        state.run = Run(process.pid, process.start_time, secrets.token_hex(16), now, host, port)
        state.last_termination, state.termination = state.termination or state.last_termination, None
        state.phase, state.waiting = "Running", Waiting()
        self.changed()
        for container in self.pod["spec"]["containers"]:
            for verb in ("Created", "Started"):
                self._runtime.events.record(self.pod, verb, f"{verb} container {container['name']}")

    def _bind(self, host: str, port: int) -> socket.socket:
        try:
            return bind(host, port)
        except PortUnavailable as error:
            holder = self._runtime.listeners.get(port)
            raise PortUnavailable(f"{error}{f' by Pod {holder}' if holder else ''}") from None

    async def _serve(self) -> None:
        """Watches over the gateway until it ends, and waits until the next start. Raises _Ended."""
        run, process, started = self._state.run, self.process, time.monotonic()
        if run is None or process is None:
            return
        serving = Serving(self._runtime, self._preparation, process, run, self.changed)
        watch = asyncio.create_task(serving.watch())
        redefined = asyncio.create_task(self._until_redefined(run.definition or _definition(self.pod)))
        place = asyncio.create_task(self._leave_place(serving))
        run.definition = run.definition or _definition(self.pod)
        try:
            await asyncio.wait([watch, redefined], return_when=asyncio.FIRST_COMPLETED)
            if redefined.done() and not watch.done():
                what = "Container definition or WAGI annotations changed, will be restarted"
                self._runtime.events.record(self.pod, "Killing", what)
                await serving.end(grace_of(self.pod))
            code = await watch
        finally:
            for task in (watch, redefined, place):
                task.cancel()
            self._release_place()
            await asyncio.gather(watch, redefined, place, return_exceptions=True)
        self._record_end(run, code)
        if serving.evicted:
            raise _Ended("Evicted", serving.evicted)
        if redefined.done() and not redefined.cancelled():
            self._state.images.clear()
        elif self._restarts.is_wanted(code):
            await self._back_off(time.monotonic() - started)
        else:
            self._state.phase = "Failed" if code else "Succeeded"
            return
        self._state.restarts += 1

    async def _leave_place(self, serving: Serving) -> None:
        """Gives the place back once the gateway serves, has ended, or takes long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_PLACE):
                await serving.has_served.wait()
        self._release_place()

    def _release_place(self) -> None:
        if self._has_place:
            self._has_place = False
            self._runtime.starts.release()

    def _record_end(self, run: Run, code: int) -> None:
        """Keeps how the run has ended, for the status."""
        is_known = self.process is None or self.process.is_child
        if self.process:
            self.process.close()
        self.process = None
        self._runtime.listeners.pop(run.port, None)
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
        await asyncio.sleep(delay)

    async def _until_redefined(self, definition: str) -> None:
        """Waits for another definition: each status that is written is a modification too."""
        while _definition(self.pod) == definition:
            self._modified.clear()
            await self._modified.wait()


def _definition(pod: Object) -> str:
    """What a gateway is made of and may change while the Pod lives: images, and the WAGI annotations."""
    annotations = pod["metadata"].get("annotations") or {}
    return json.dumps(
        [
            [(one["name"], one.get("image")) for one in pod["spec"]["containers"]],
            {name: value for name, value in annotations.items() if name.startswith(ANNOTATIONS)},
        ],
        sort_keys=True,
    )
