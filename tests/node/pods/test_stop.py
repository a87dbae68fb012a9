"""The end of a gateway's process, which may be begun twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

from tests.support.pods import RecordedEvents, a_pod, until
from wagi_gateway.node.pods.process import PodProcess
from wagi_gateway.node.pods.state import PodState, Run
from wagi_gateway.node.pods.stop import stop_process

HOOKED = {"lifecycle": {"preStop": {"httpGet": {"port": 1}}}}
"""A hook that fails, of which each run is an Event."""


def stubborn(up: Path) -> subprocess.Popen[bytes]:
    """A process that SIGTERM does not end, once the file is there."""
    program = 'trap "" TERM; touch "$0"; while :; do sleep 1; done'
    return subprocess.Popen(["/bin/sh", "-c", program, str(up)], start_new_session=True)


def test_the_hooks_do_not_run_again_for_a_later_process_of_the_node(tmp_path: Path) -> None:
    """The earlier one was stopped while the gateway drained."""
    path, pod, events = tmp_path / "state.json", a_pod(HOOKED), RecordedEvents()

    async def story() -> None:
        with stubborn(tmp_path / "up") as child:
            await until((tmp_path / "up").exists)
            process = PodProcess(child.pid, os.pidfd_open(child.pid))
            state = PodState("Running", run=Run(child.pid, process.start_time, "r", "s", "127.0.0.1", 3001))
            assert state.run

            def save() -> None:
                state.save(path)

            first = asyncio.create_task(stop_process(process, state.run, pod, events, grace=lambda: 3600.0, save=save))
            await until(path.exists)
            first.cancel()
            await asyncio.wait([first])
            assert events.reasons == ["FailedPreStopHook"]
            adopted = PodState.load(path)
            assert adopted
            assert adopted.run
            await stop_process(process, adopted.run, pod, events, grace=lambda: 0.0, save=save)
            assert events.reasons == ["FailedPreStopHook"]

    asyncio.run(story())
