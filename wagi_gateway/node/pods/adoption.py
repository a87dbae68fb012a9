"""The Pods of an earlier process of the node, whose gateways still serve."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

from ...observe.log import logger
from ..api import Object
from .folder import PodFolder
from .gateway_configuration import grace_of
from .process import UNKNOWN_EXIT, PodProcess
from .restarts import Restarts, restart_policy
from .state import PodState, Termination, rfc3339


class FoundPod(NamedTuple):
    """A Pod with its folder, and its gateway if that still runs."""

    pod: Object
    state: PodState
    process: PodProcess | None


def find_pods(state_directory: Path, now: float) -> list[FoundPod]:
    """The Pods that have a folder with a readable state; other folders are removed, whose gateways are ended."""
    found = []
    for folder in PodFolder.all(state_directory):
        pod, state = folder.load_manifest(), PodState.load(folder.state)
        if state is None or pod is None or pod["metadata"].get("uid") != folder.path.name:
            logger.warning("%s holds no Pod that can be adopted; it is removed", folder.path)
            _end(state)
            folder.remove()
            continue
        found.append(FoundPod(pod, state, _process(pod, state, now)))
    return found


async def end_gateways(state_directory: Path, grace: float) -> int:
    """Ends the gateways of an earlier process of the node, in `grace` seconds at most; returns their number.

    The folders stay: the next start that may run the Pods finds their gateways ended.
    """
    ended = 0

    async def end(process: PodProcess, own: float) -> None:
        await process.end(min(own, grace))
        await process.wait()
        process.close()

    async with asyncio.TaskGroup() as group:
        for folder in PodFolder.all(state_directory):
            pod, state = folder.load_manifest(), PodState.load(folder.state)
            if state and state.run and (process := PodProcess.adopt(state.run.pid, state.run.pid_start)):
                group.create_task(end(process, grace_of(pod) if pod else grace))
                ended += 1
    return ended


def _process(pod: Object, state: PodState, now: float) -> PodProcess | None:
    """The gateway of a state; the end of one that has ended meanwhile is recorded, with an unknown exit code."""
    run = state.run
    if run is None:
        return None
    process = PodProcess.adopt(run.pid, run.pid_start)
    if process is None:
        what = "The gateway ended while the node was not running"
        state.termination = Termination(
            UNKNOWN_EXIT, "ContainerStatusUnknown", what, run.started_at, rfc3339(now), run.id
        )
        state.run = None
        if Restarts(restart_policy(pod)).is_wanted(UNKNOWN_EXIT):
            state.restarts += 1
        else:
            state.phase = "Failed"
    return process


def _end(state: PodState | None) -> None:
    if state and state.run and (process := PodProcess.adopt(state.run.pid, state.run.pid_start)):
        process.kill()
        process.close()
