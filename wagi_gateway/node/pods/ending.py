"""The end of one Pod: preStop, SIGTERM, the grace period, the last status, and its deletion from the API."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable

from ...observe.log import logger
from ..api import PODS, ApiError, ApiUnreachable, Object
from .folder import PodFolder
from .gateway_configuration import grace_of
from .gateway_log import tail
from .process import PodProcess
from .runtime import PodRuntime
from .state import PodState, Run, Termination, rfc3339
from .status import SHUTDOWN
from .status_writer import StatusWriter
from .stop import stop_process

_RETRY = 1.0


class PodEnding:
    """Ends one Pod. The Pod is read anew at each step: a second deletion shortens the grace period."""

    def __init__(
        self,
        runtime: PodRuntime,
        folder: PodFolder,
        state: PodState,
        status: StatusWriter,
        pod: Callable[[], Object],
    ) -> None:
        self._runtime = runtime
        self._folder = folder
        self._state = state
        self._status = status
        self._pod = pod
        self._most = math.inf

    async def end(self, process: PodProcess | None) -> None:
        """Ends the gateway, shows how it ended, removes the folder, and deletes the Pod."""
        has_ended = self._state.phase in ("Succeeded", "Failed")
        if (run := self._state.run) and process:
            await self._end_run(run, process)
        elif not has_ended:
            end = self._state.termination or self._state.last_termination
            self._state.phase = "Failed" if end and end.exit_code else "Succeeded"
            self._state.termination = self._state.termination or self._never_ran()
        self._runtime.addresses.release(self._pod())
        if not has_ended:  # else the status is in the API, and without a folder not here
            self._status.touch()
        await self._status.flush()
        self._runtime.groups.remove(self._pod()["metadata"]["uid"])
        await asyncio.to_thread(self._folder.remove)
        await self._delete()

    async def exceed_deadline(self, process: PodProcess | None) -> None:
        """Ends the gateway of a Pod that ran for longer than its `activeDeadlineSeconds`."""
        message = "Pod was active on the node longer than the specified deadline"
        self._runtime.events.record(self._pod(), "DeadlineExceeded", message)
        await self._fail("DeadlineExceeded", message, process)

    async def shut_down(self, process: PodProcess | None) -> None:
        """Ends the gateway of a Pod whose node is shut down, in the node's own grace period at most. A deletion that
        has begun is completed."""
        self._most = self._runtime.shutdown_grace
        if self._pod()["metadata"].get("deletionTimestamp"):
            await self.end(process)
        elif self._state.phase not in ("Succeeded", "Failed"):
            await self._fail(SHUTDOWN, "Pod was terminated in response to imminent node shutdown.", process)
            await self._status.flush()

    async def _fail(self, reason: str, message: str, process: PodProcess | None) -> None:
        state = self._state
        if state.run and process:
            await self._end_run(state.run, process)
        self._runtime.addresses.release(self._pod())
        state.phase, state.reason, state.message = "Failed", reason, message
        state.termination = state.termination or self._never_ran()
        self._save()
        self._status.touch()

    async def _end_run(self, run: Run, process: PodProcess) -> None:
        names = [container["name"] for container in self._pod()["spec"]["containers"]]
        if not self._status.is_gone.is_set():
            for name in names:
                self._runtime.events.record(self._pod(), "Killing", f"Stopping container {name}")
        run.ready = dict.fromkeys(names, False)  # EndpointSlices name the Pod no more
        self._status.touch()
        code = await stop_process(
            process,
            run,
            self._pod(),
            self._runtime.events,
            grace=self._grace,
            save=self._save,
            is_gone=self._status.is_gone,
        )
        process.close()
        self._runtime.listeners.remove(run.host, run.port)
        now = rfc3339(self._runtime.clock())
        message = "" if code == 0 else tail(self._folder.gateway_log)
        reason = "Error" if code else "Completed"
        self._state.termination = Termination(code, reason, message, run.started_at, now, run.id)
        self._state.run = None
        self._state.phase = "Failed" if code else "Succeeded"
        self._save()

    def _save(self) -> None:
        with contextlib.suppress(OSError):
            self._state.save(self._folder.state)

    def _grace(self) -> float:
        """The grace period in seconds: none for a Pod that the API has no more."""
        if self._status.is_gone.is_set():
            return 0.0
        pod = self._pod()
        given = pod["metadata"].get("deletionGracePeriodSeconds")
        return min(grace_of(pod) if given is None else float(given), self._most)

    def _never_ran(self) -> Termination:
        now = rfc3339(self._runtime.clock())
        return Termination(0, "Completed", "The gateway was not started", now, now, "")

    async def _delete(self) -> None:
        """Deletes the Pod from the API, unless another one has its name."""
        metadata = self._pod()["metadata"]
        while not self._status.is_gone.is_set():
            try:
                await self._runtime.api.delete(
                    PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"], grace_period=0
                )
            except (ApiError, ApiUnreachable) as error:
                if isinstance(error, ApiError) and error.status in (404, 409):
                    return
                logger.warning("Pod %s cannot be deleted, it is tried again: %s", metadata["name"], error)
                await asyncio.sleep(_RETRY)
            else:
                return
