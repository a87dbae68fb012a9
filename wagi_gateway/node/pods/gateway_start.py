"""The start of one Pod's gateway: what it needs, and the attempts until there is a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from ...errors import GatewayError
from ...observe.log import logger
from ..api import ApiError, ApiUnreachable
from ..unix_socket import listening_at
from .definition import definition_of
from .downward import UnknownField
from .folder import PodFolder
from .latest_pod import LatestPod
from .ports import PortUnavailable, resolve
from .preparation import Preparation
from .process import PodProcess
from .pull_back_off import back_off_pull
from .references import ReferenceMissing
from .restarts import BackOff, restart_policy
from .runtime import PodRuntime
from .start_place import StartPlace
from .state import PodState, Waiting
from .status_writer import StatusWriter
from .validation import ValidatedPod
from .volume_kinds import VolumeNotReady

_API_RETRY = 2.0


class PodEnded(GatewayError):
    """The Pod is not to run again; `reason` is that of its status."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StartedGateway(NamedTuple):
    """A gateway that has just been started."""

    process: PodProcess
    host: str
    """The address that it listens on."""
    port: int


class GatewayStart:
    """Starts the gateway of one Pod. Its place among those that start is `place`, which the caller leaves."""

    def __init__(
        self,
        runtime: PodRuntime,
        latest: LatestPod,
        folder: PodFolder,
        state: PodState,
        status: StatusWriter,
        preparation: Preparation,
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called when the state has changed."""
        self.place = StartPlace(runtime.starts)
        self._runtime = runtime
        self._latest = latest
        self._folder = folder
        self._state = state
        self._status = status
        self._preparation = preparation
        self._changed = changed

    async def run(self) -> StartedGateway:
        """Prepares and starts the gateway, however many attempts that takes. Raises PodEnded."""
        back_off = BackOff(self._runtime.back_off, 30 * self._runtime.back_off)
        self._preparation.begin()
        state, refusals = self._state, 0
        state.last_termination, state.termination = state.termination or state.last_termination, None
        while True:
            try:
                if started := await self._attempt(back_off):
                    return started
            except (ApiError, ApiUnreachable) as error:
                refusals = refusals + 1 if isinstance(error, ApiError) and error.status == 403 else 0
                if refusals > 1:  # one may come from an API server that has just started
                    await self._wait("CreateContainerConfigError", str(error), "Failed", back_off)
                    continue
                logger.warning("Pod %s: %s; it is tried again", self._latest.pod["metadata"]["name"], error)
                if isinstance(error, ApiError):  # such as a right that the node lacks
                    self._show_wait("ContainerCreating", str(error), "Failed")
                await asyncio.sleep(min(_API_RETRY, self._runtime.back_off))
            except (ReferenceMissing, UnknownField) as error:
                await self._wait("CreateContainerConfigError", str(error), "Failed", back_off)
            except VolumeNotReady as error:
                await self._wait("ContainerCreating", str(error), "FailedMount", back_off)
            except (PortUnavailable, OSError) as error:
                await self._wait("RunContainerError", str(error), "Failed", back_off)

    async def _attempt(self, back_off: BackOff) -> StartedGateway | None:
        """One attempt; None if the next one is due."""
        self._folder.make()
        self._folder.save_manifest(self._latest.pod)
        if (definition := definition_of(self._latest.pod)) != self._state.definition:
            self._state.definition = definition
            self._state.images.clear()
            self._state.waiting_images.clear()
            back_off.reset()
        valid = self._preparation.validate()
        if valid.problems:
            await self._refuse(valid)
            return None
        await self._preparation.assign_address()
        if not await self._preparation.pull(valid.served):
            await self._status.flush()
            delay, events = back_off.fail(), self._runtime.events
            await back_off_pull(
                self._latest.pod, self._state, events, delay=delay, changed=self._changed, pause=self._pause
            )
            return None
        back_off.reset()
        await self._preparation.write_volumes()
        await self._preparation.configure()
        return await self._spawn(valid.host, valid.port)

    async def _refuse(self, valid: ValidatedPod) -> None:
        """Shows why the Pod is invalid, and waits for another version of it."""
        self._state.waiting = Waiting("CreateContainerConfigError", valid.message)
        self._runtime.events.record(self._latest.pod, "Failed", f"Error: {valid.message}", "Warning")
        if restart_policy(self._latest.pod) == "Never":
            raise PodEnded("CreateContainerConfigError", valid.message)
        self._changed()
        await self._latest.until_redefined(self._state.definition)

    async def _wait(self, reason: str, message: str, event: str, back_off: BackOff) -> None:
        """Shows why no container runs, until the next attempt."""
        self._show_wait(reason, message, event)
        await self._pause(back_off.fail())

    def _show_wait(self, reason: str, message: str, event: str) -> None:
        self._state.waiting = Waiting(reason, message[:1000])
        text = message if event == "FailedMount" else f"Error: {message}"
        self._runtime.events.record(self._latest.pod, event, text, "Warning")
        self._changed()

    async def _spawn(self, host: str, port: int) -> StartedGateway:
        """Binds the port and starts the process, once there is a place. Raises PortUnavailable, OSError."""
        await self.place.take()
        try:
            host = await resolve(self._runtime.addresses.bound(host, self._state.address))
            with self._preparation.bind(host, port) as listener, listening_at(self._folder.admin_socket) as admin:
                command = ("serve", str(self._folder.configuration), "--listen", "fd:3", "--admin", "fd:4")
                process = await self._runtime.forks.start(command, self._folder.gateway_log, (listener, admin))
        except BaseException:
            self.place.leave()
            raise
        return StartedGateway(process, host, port)

    async def _pause(self, seconds: float) -> None:
        await self._latest.pause(seconds, self._state.definition)
